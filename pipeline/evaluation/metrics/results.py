"""The metrics of a split as sections of metrics.json.

Shape letters: N trajectories, T frames after the first, M metrics, F fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.evaluation.metrics import horizon
from pipeline.evaluation.metrics.batch import NUM_LYAPUNOV, BatchMetrics
from pipeline.evaluation.metrics.frame_metrics import DEFINITIONS as FRAME_DEFINITIONS
from pipeline.evaluation.metrics.frame_metrics import FrameMetrics
from pipeline.evaluation.metrics.probability import spread_skill_ratio
from pipeline.evaluation.metrics.relative import summary
from pipeline.evaluation.metrics.sections import (
    FieldMetricResult,
    FieldMetricResults,
    HorizonResult,
    HorizonTime,
    LyapunovResult,
    ProbabilityResult,
    SeedResult,
    SpectrumResult,
)
from pipeline.evaluation.section import SeriesSummary, Summary, finite_or_none
from simsurrogate.spec import Spec

DEFINITIONS = {
    **FRAME_DEFINITIONS,
    "spectra": "the mean square of a field in shells of the wave number at the end of the rollout; Fourier "
    "modes along periodic axes, cosines along others. Ratio: the surrogate's energy over that of the truth",
    "horizon": "the time until which a rollout is useful. On a grid: its correlation with the truth, mean of "
    f"all fields, is at least {horizon.LEAST_CORRELATION}. Particles: the RMSE of the positions is at most "
    f"{horizon.LARGEST_POSITION_ERROR} of the root mean square distance from their centre. A rollout that is "
    "useful to the end counts as the end",
    "lyapunov": "1 / the largest Lyapunov exponent, from two nearby trajectories of the solver over the "
    f"duration of the data, median of the first {NUM_LYAPUNOV} trajectories",
    "crps": "the continuous ranked probability score, mean over sites and components: fair CRPS of an "
    "ensemble, closed form of a normal distribution. `absolute_error` is the score of the mean alone",
    "spread, skill": "root mean square of the predicted standard deviation, and RMSE of the mean. Ratio: "
    "sqrt((M + 1) / M) times spread / skill",
    "seeds": "the headline error of each member of an ensemble alone: members differ in their seed",
}


@dataclass(frozen=True)
class SplitMetrics:
    """The results of one split, with a sentence for each metric that does not apply."""

    fields: FieldMetricResults
    spectra: dict[str, SpectrumResult]
    horizon: HorizonResult | None
    probability: dict[str, ProbabilityResult]
    seeds: SeedResult | None
    skipped: dict[str, str]


def split_metrics(batch: BatchMetrics, metrics: FrameMetrics, spec: Spec, times: np.ndarray) -> SplitMetrics:
    """Return the sections of the trajectories of a split; `times` (T + 1,) are the times of all frames, s."""
    skipped = dict(metrics.skipped)
    if not batch.probability:
        skipped["crps"] = (
            "The surrogate predicts no standard deviation. Type ensemble=4 to train an ensemble."
        )
    if batch.member_errors.shape[1] < 2:
        skipped["seeds"] = "The surrogate is a single model. Type ensemble=4 to train models of other seeds."
    horizon_result = _horizon(batch, spec, times) if batch.horizon else None
    if horizon_result is None:
        skipped["horizon"] = "Quantities of interest have no correlation in space and no positions."
    elif horizon_result.lyapunov is None:
        skipped["lyapunov"] = (
            "No trajectory of the solver can be advanced from a nearby state."
            if spec.chaotic
            else "The solver does not declare its trajectories to be chaotic."
        )
    return SplitMetrics(
        fields=_fields(batch, metrics, spec),
        spectra=_spectra(batch, metrics, spec),
        horizon=horizon_result,
        probability=_probability(batch, spec),
        seeds=_seeds(batch.member_errors),
        skipped=skipped,
    )


def _fields(batch: BatchMetrics, metrics: FrameMetrics, spec: Spec) -> FieldMetricResults:
    return {
        name: {
            field.name: FieldMetricResult(
                unit=metrics.unit(name, index),
                surrogate={
                    mode: SeriesSummary.of(summary(values[:, :, position, index]))
                    for mode, values in batch.surrogate.items()
                },
                rollout_end={
                    predictor: Summary.of(summary(values[:, position, index]))
                    for predictor, values in batch.rollout_end.items()
                    if predictor != "truth" or name == "divergence"
                },
            )
            for index, field in enumerate(spec.fields)
            if metrics.has(name, index)
        }
        for position, name in enumerate(metrics.names)
    }


def _spectra(batch: BatchMetrics, metrics: FrameMetrics, spec: Spec) -> dict[str, SpectrumResult]:
    if metrics.spectrum is None:
        return {}
    results = {}
    for index, field in enumerate(spec.fields):
        truth, surrogate = (batch.spectra[name][:, index] for name in ("truth", "surrogate"))
        with np.errstate(divide="ignore", invalid="ignore"):
            # Energies at the level of round-off have no meaningful ratio.
            is_resolved = truth > 1e-14 * truth.max(axis=1, keepdims=True)
            ratio = surrogate / np.where(is_resolved, truth, np.nan)
        results[field.name] = SpectrumResult(
            wave_number=metrics.spectrum.wave_numbers.tolist(),
            length_unit=spec.axes[0].unit,
            energy={
                name: [finite_or_none(value) for value in values[:, index].mean(axis=0)]
                for name, values in batch.spectra.items()
            },
            ratio=SeriesSummary.of(summary(ratio)),
        )
    return results


def _horizon(batch: BatchMetrics, spec: Spec, times: np.ndarray) -> HorizonResult:
    last_time = float(times[-1])
    exponents = batch.lyapunov[np.isfinite(batch.lyapunov)]
    medians = {
        predictor: float(np.median(np.minimum(values, last_time)) - times[0])
        for predictor, values in batch.horizon.items()
    }
    lyapunov = None
    if len(exponents):
        median_exponent = float(np.median(exponents))
        lyapunov_time = 1 / median_exponent if median_exponent > 0 else None
        lyapunov = LyapunovResult(
            trajectories=len(exponents),
            exponent=Summary.of(summary(exponents)),
            time=lyapunov_time,
            horizon={
                name: value / lyapunov_time if lyapunov_time else None for name, value in medians.items()
            },
        )
    return HorizonResult(
        criterion="position_error" if spec.has_particles else "correlation",
        level=horizon.LARGEST_POSITION_ERROR if spec.has_particles else horizon.LEAST_CORRELATION,
        times={
            predictor: HorizonTime(
                time=Summary.of(summary(np.minimum(values, last_time))),
                complete=int(np.count_nonzero(np.isinf(values))),
            )
            for predictor, values in batch.horizon.items()
        },
        lyapunov=lyapunov,
    )


def _probability(batch: BatchMetrics, spec: Spec) -> dict[str, ProbabilityResult]:
    if not batch.probability:
        return {}
    members = batch.member_errors.shape[1]
    results = {}
    for index, field in enumerate(spec.fields):
        scores = {name: values[..., index] for name, values in batch.probability.items()}
        spread, skill = (np.sqrt(scores[name].mean(axis=0)) for name in ("variance", "squared_error"))
        results[field.name] = ProbabilityResult(
            unit=field.unit,
            kind="ensemble" if members else "normal",
            crps=SeriesSummary.of(summary(scores["crps"])),
            absolute_error=SeriesSummary.of(summary(scores["absolute_error"])),
            spread=_finite(spread),
            skill=_finite(skill),
            ratio=_finite(spread_skill_ratio(spread, skill, max(members, 1))),
        )
    return results


def _seeds(member_errors: np.ndarray) -> SeedResult | None:
    """Return the spread over the members; None for fewer than two."""
    if member_errors.shape[1] < 2:
        return None
    medians = np.median(member_errors, axis=0)
    with np.errstate(invalid="ignore"):
        mean, deviation = float(medians.mean()), float(medians.std(ddof=1))
    return SeedResult(
        rollout_end=_finite(medians), mean=finite_or_none(mean), standard_deviation=finite_or_none(deviation)
    )


def _finite(values: np.ndarray | Sequence[Any]) -> list[float | None]:
    return [finite_or_none(float(value)) for value in values]
