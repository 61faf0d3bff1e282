"""The measured coverage of intervals, alarms and expected errors on held-out trajectories.

Shape letters: B trajectories of a batch, T frames after the first, C channels, L levels, Q quantities.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.evaluation.intervals.ranks import rank_correlation
from pipeline.evaluation.intervals.residuals import HeldOut, PredictedBatch
from pipeline.evaluation.intervals.result import (
    MIN_RANKED,
    NOMINAL_LEVELS,
    ConfidenceResult,
    ConfidenceSplit,
    CoverageResult,
    IntervalResult,
    LevelCoverage,
    ScaleSource,
)
from pipeline.evaluation.section import finite_or_none
from surrogates.calibration import Calibration, Intervals
from surrogates.calibration.error_model import error_predictors
from surrogates.calibration.intervals import trajectories_needed
from surrogates.calibration.quantities import frame_quantities
from surrogates.training_range import TrainingRange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from surrogates.contract import Surrogate


@dataclass(frozen=True)
class _Covered:
    """The coverage of some trajectories: the shares of covered values and the widths of each level.

    `marginal` (B, L, T, C), `joint` (B, L) and the widths (B, L, C), in the unit of the channel.
    """

    marginal: np.ndarray
    joint: np.ndarray
    marginal_width: np.ndarray
    joint_width: np.ndarray


@dataclass(frozen=True)
class _Checked:
    """The results of a batch of a test split."""

    fields: _Covered | None
    quantities: _Covered | None
    is_outside: np.ndarray
    distance: np.ndarray
    predicted_error: np.ndarray
    error: np.ndarray


def measure(
    held_out: HeldOut, calibration: Calibration, splits: Sequence[str]
) -> tuple[IntervalResult, ConfidenceResult]:
    """Return the coverage and the alarms on splits of a data set, the same on all ranks.

    The calibration may come from another data set, see `model_calibration`.
    """
    surrogate = held_out.surrogate
    is_other_data = calibration.dataset != held_out.dataset.identity
    coverages: dict[str, CoverageResult] = {}
    confidences: dict[str, ConfidenceSplit] = {}
    members = 1
    source: ScaleSource = "residual scale"
    for split in splits:
        if not (total := held_out.dataset.num_trajectories(split)):
            continue
        batches = held_out.map(
            split,
            total,
            lambda batch: (_check(batch, calibration, surrogate), batch.num_members, batch.spread is None),
        )
        members = batches[0][1]
        if not batches[0][2]:
            source = "ensemble spread" if members > 1 else "predicted standard deviation"
        results = [result for result, *_ in batches]
        if calibration.intervals is not None:
            coverages[split] = _coverage(results, calibration, surrogate)
        confidences[split] = _confidence(results, calibration)
    intervals, guard = calibration.intervals, calibration.guard
    reason = ""
    if intervals is None:
        reason = MISSING_SPLIT if calibration.fitted_on else NO_CALIBRATION
    return (
        IntervalResult(
            reason=reason,
            other_data=is_other_data,
            trajectories=0 if intervals is None else intervals.num_trajectories,
            duration=None if intervals is None else float(intervals.lead_times[-1]),
            scale=source,
            scale_trajectories=calibration.fitted_on.get("valid", 0),
            splits=coverages,
        ),
        ConfidenceResult(
            threshold=None if guard is None else guard.threshold,
            alarm_rate=None if guard is None else guard.alarm_rate,
            features=0 if guard is None else len(guard.mean),
            other_data=is_other_data,
            fitted_on=dict(calibration.fitted_on),
            has_predicted_error=calibration.error_model is not None,
            splits=confidences,
        ),
    )


MISSING_SPLIT = (
    "the data set of the model has no calibration split. The split valid cannot replace it, because it "
    "selected the weights. Type python -m pipeline.generate samples.calibration=40, then validate and "
    "evaluate: all other trajectories stay as they are"
)
NO_CALIBRATION = (
    "neither intervals nor the guard apply here, because the model was trained on other data and has no "
    "calibration by them, or not on this grid. Type python -m pipeline.evaluate with the data set of the "
    "training first"
)


def _check(batch: PredictedBatch, calibration: Calibration, surrogate: Surrogate) -> _Checked:
    intervals, guard, model = calibration.intervals, calibration.guard, calibration.error_model
    size = len(batch.error)
    fields = quantities = None
    if intervals is not None:
        fields = _covered(intervals, batch.residual, batch.spread, batch.num_members)
    if calibration.quantities is not None and batch.quantity_residual.shape[-1]:
        quantities = _covered(calibration.quantities, batch.quantity_residual, None, 1)
    stats, problem = surrogate.problem.statistics, surrogate.problem
    training_range = TrainingRange(
        problem.spec, stats.channel_ranges, stats.coefficient_ranges, problem.duration
    )
    predicted_error = np.full(size, np.nan)
    if model is not None:
        predictors = error_predictors(batch.prediction, batch.inputs, guard)[:, -1:]
        predicted_error = model.errors(batch.cases.time[-1:] - batch.cases.time[0], predictors)[:, 0]
    inputs = [
        (state[None], {name: values[index : index + 1] for name, values in batch.cases.inputs.items()})
        for index, state in enumerate(batch.cases.state[:, 0])
    ]
    return _Checked(
        fields,
        quantities,
        np.array([any(training_range.outside_messages(*case, None)) for case in inputs]),
        np.full(size, np.nan) if guard is None else guard.distances(batch.inputs.features),
        predicted_error,
        batch.error[:, -1],
    )


def _covered(
    intervals: Intervals, residual: torch.Tensor, spread: torch.Tensor | None, num_members: int
) -> _Covered:
    """Return the coverage of residuals (B, T, C, *sites); NaN where the calibration split is too small.

    Frames beyond those of the calibration have no intervals and do not count.
    """
    durations = intervals.lead_times.numpy()[: residual.shape[1]]
    residual = residual[:, : len(durations)]
    spread = None if spread is None else spread[:, : len(durations)]
    size, num_frames, num_channels = residual.shape[:3]
    marginal = np.full((size, len(NOMINAL_LEVELS), num_frames, num_channels), np.nan)
    joint = np.full((size, len(NOMINAL_LEVELS)), np.nan)
    widths = np.full((2, size, len(NOMINAL_LEVELS), num_channels), np.nan)
    for index, level in enumerate(NOMINAL_LEVELS):
        if trajectories_needed(level) > intervals.num_trajectories:
            continue
        half = intervals.half_widths(durations, level, "marginal", spread, num_members)
        is_inside = (residual <= half).double().reshape(size, num_frames, num_channels, -1)
        marginal[:, index] = is_inside.mean(-1).numpy()
        widths[0, :, index] = _mean_width(half, size)
        half = intervals.half_widths(durations, level, "joint", spread, num_members)
        joint[:, index] = (residual <= half).flatten(1).all(1).numpy()
        widths[1, :, index] = _mean_width(half, size)
    return _Covered(marginal, joint, widths[0], widths[1])


def _mean_width(half_width: torch.Tensor, size: int) -> np.ndarray:
    """Return the mean width (B, C) over frames and sites of half widths (1 or B, T, C, *sites)."""
    width = half_width.double().reshape(*half_width.shape[:3], -1).mean(-1).mean(1)
    return 2 * width.expand(size, -1).numpy()


def _coverage(results: Sequence[_Checked], calibration: Calibration, surrogate: Surrogate) -> CoverageResult:
    std = np.array(surrogate.problem.statistics.std)
    fields = _joined([result.fields for result in results])
    quantities: dict[str, list[LevelCoverage]] = {}
    if calibration.quantities is not None and results[0].quantities is not None:
        values = _joined([result.quantities for result in results])
        for index, quantity in enumerate(frame_quantities(surrogate.problem.spec)):
            # The joint intervals hold for all quantities at once.
            own = _Covered(
                values.marginal[..., index : index + 1],
                values.joint,
                values.marginal_width[..., index : index + 1],
                values.joint_width[..., index : index + 1],
            )
            quantities[quantity.name] = _levels(own, np.ones(1))
    return CoverageResult(
        trajectories=len(fields.joint),
        fields=_levels(fields, np.where(std > 0, std, np.nan)),
        quantities=quantities,
    )


def _joined(parts: Sequence[_Covered | None]) -> _Covered:
    whole = [part for part in parts if part is not None]
    return _Covered(
        *(
            np.concatenate([getattr(part, name) for part in whole])
            for name in ("marginal", "joint", "marginal_width", "joint_width")
        )
    )


def _levels(covered: _Covered, unit: np.ndarray) -> list[LevelCoverage]:
    """Return the coverage of each level, with the widths in a unit of each channel (C,)."""
    levels = []
    with np.errstate(invalid="ignore"):
        for index, level in enumerate(NOMINAL_LEVELS):
            marginal = covered.marginal[:, index]
            by_trajectory, joint = marginal.mean(axis=(1, 2)), covered.joint[:, index]
            widths = [
                np.mean((width[:, index] / unit)[:, np.isfinite(unit)]) if np.isfinite(unit).any() else np.nan
                for width in (covered.marginal_width, covered.joint_width)
            ]
            levels.append(
                LevelCoverage(
                    nominal=level,
                    marginal=finite_or_none(by_trajectory.mean()),
                    marginal_end=finite_or_none(marginal[:, -1].mean()),
                    marginal_standard_error=_standard_error(by_trajectory),
                    marginal_width=finite_or_none(widths[0]),
                    joint=finite_or_none(joint.mean()),
                    joint_standard_error=_standard_error(joint),
                    joint_width=finite_or_none(widths[1]),
                )
            )
    return levels


def _standard_error(values: np.ndarray) -> float | None:
    if len(values) < 2:
        return None
    return finite_or_none(float(values.std(ddof=1)) / math.sqrt(len(values)))


def _confidence(results: Sequence[_Checked], calibration: Calibration) -> ConfidenceSplit:
    is_outside, distance, predicted, error = (
        np.concatenate([getattr(result, name) for result in results])
        for name in ("is_outside", "distance", "predicted_error", "error")
    )
    guard = calibration.guard
    has_alarm = np.zeros(len(error), bool) if guard is None else distance > guard.threshold
    return ConfidenceSplit(
        trajectories=len(error),
        outside_range=float(is_outside.mean()),
        alarm=None if guard is None else float(has_alarm.mean()),
        either=float((is_outside | has_alarm).mean()),
        predicted_error=[finite_or_none(value) for value in predicted],
        error=[finite_or_none(value) for value in error],
        rank_correlation=None
        if len(error) < MIN_RANKED
        else finite_or_none(rank_correlation(predicted, error)),
    )
