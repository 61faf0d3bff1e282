"""The metrics of a batch of trajectories, as arrays that are concatenated over the batches.

Shape letters: B trajectories, T frames after the first, C channels, M metrics, F fields, S shells of a
spectrum, E members of an ensemble.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pipeline.evaluation.metrics import horizon
from pipeline.evaluation.metrics.frame_metrics import FrameMetrics
from pipeline.evaluation.metrics.probability import ensemble_crps, gaussian_crps
from pipeline.evaluation.metrics.relative import FieldNorm, relative_l2
from simsurrogate.spec import Spec
from solvers.contract import DivergedError, SteppedTrajectory

if TYPE_CHECKING:
    from pipeline.evaluation.cases import Cases
    from solvers.contract import Trajectory
    from surrogates.contract import Prediction

#: The number of trajectories of a split whose Lyapunov exponents are estimated: the first ones.
NUM_LYAPUNOV = 4

#: The predicted states (B, T, C, *sites) by predictor and mode.
Predictions = Mapping[tuple[Any, Any], np.ndarray]


@dataclass(frozen=True)
class BatchMetrics:
    """The metrics of some trajectories.

    Attributes:
        surrogate: all frame metrics of the surrogate by mode, (B, T, M, F).
        rollout_end: the frame metrics at the last frame by predictor, (B, M, F), and those of `truth` that
            have a value for the data.
        spectra: the energy of each shell at the last frame by predictor and for `truth`, (B, F, S); empty
            without a spectrum.
        horizon: the time until which the rollout is useful by predictor, (B,), s; infinity for a rollout that
            is useful to the end. Empty for quantities of interest.
        lyapunov: the Lyapunov exponents (B,), 1/s; NaN where none is estimated.
        probability: `crps`, `absolute_error`, `variance` and `squared_error`, means over sites and
            components, each (B, T, F); empty for a prediction without a standard deviation.
        member_errors: the headline error of each member at the end of its rollout, (B, E); E is 0 without
            members.
    """

    surrogate: dict[Literal["rollout", "one_step"], np.ndarray]
    rollout_end: dict[str, np.ndarray]
    spectra: dict[str, np.ndarray]
    horizon: dict[str, np.ndarray]
    lyapunov: np.ndarray
    probability: dict[str, np.ndarray]
    member_errors: np.ndarray

    @classmethod
    def concatenate(cls, batches: Sequence[BatchMetrics]) -> BatchMetrics:
        """Return the metrics of the trajectories of all batches."""

        def joined(name: str) -> Any:
            values = [getattr(batch, name) for batch in batches]
            if isinstance(values[0], dict):
                return {key: np.concatenate([value[key] for value in values]) for key in values[0]}
            return np.concatenate(values)

        return cls(**{name: joined(name) for name in cls.__dataclass_fields__})


def measure_batch(
    metrics: FrameMetrics,
    predictions: Predictions,
    prediction: Prediction,
    *,
    cases: Cases,
    spec: Spec,
    norms: Sequence[FieldNorm],
    lyapunov: np.ndarray,
) -> BatchMetrics:
    """Return the metrics of a batch.

    Args:
        metrics: the metrics of the spec.
        predictions: the states of the surrogate and of the baselines by predictor and mode.
        prediction: the surrogate's rollout, with the first frame.
        cases: the true trajectories.
        spec: the spec of the data.
        norms: the norm of each field.
        lyapunov: see `BatchMetrics`.
    """
    truth = cases.state[:, 1:]
    rollouts = {predictor: states for (predictor, mode), states in predictions.items() if mode == "rollout"}
    own: dict[Literal["rollout", "one_step"], np.ndarray] = {
        "rollout": metrics(predictions["surrogate", "rollout"], truth),
        "one_step": metrics(predictions["surrogate", "one_step"], truth),
    }
    rollout_end = {
        name: metrics(states[:, -1:], truth[:, -1:])[:, 0] if name != "surrogate" else own["rollout"][:, -1]
        for name, states in rollouts.items()
    }
    if "divergence" in metrics.names:
        of_truth = metrics(truth[:, -1:], truth[:, -1:])[:, 0]
        is_divergence = np.array([name == "divergence" for name in metrics.names])
        rollout_end["truth"] = np.where(is_divergence[:, None], of_truth, np.nan)
    return BatchMetrics(
        surrogate=own,
        rollout_end=rollout_end,
        spectra=_spectra(metrics, {"truth": truth, **rollouts}, spec),
        horizon={name: _horizon(metrics, states, cases, spec) for name, states in rollouts.items()}
        if spec.has_particles or "correlation" in metrics.names
        else {},
        lyapunov=lyapunov,
        probability=_probability(prediction, truth, spec),
        member_errors=_member_errors(prediction, truth, norms),
    )


def lyapunov_exponents(
    trajectories: Sequence[Trajectory], cases: Cases, scale: np.ndarray, count: int
) -> np.ndarray:
    """Return the Lyapunov exponent (1/s) of the first `count` trajectories of a batch, and NaN of the others.

    `scale` (C,) holds the standard deviation of each channel. A trajectory that cannot be advanced from any
    state has none.
    """
    exponents = np.full(len(cases.index), np.nan)
    for row, trajectory in enumerate(trajectories[: max(count, 0)]):
        if isinstance(trajectory, SteppedTrajectory):
            rng = np.random.default_rng(cases.index[row])
            try:
                exponents[row] = horizon.lyapunov_exponent(trajectory, cases.time, scale, rng)
            except DivergedError:
                continue
    return exponents


def _spectra(metrics: FrameMetrics, states: Mapping[str, np.ndarray], spec: Spec) -> dict[str, np.ndarray]:
    """Return the energy of each shell at the last frame of states (B, T, C, *sites), (B, F, S)."""
    spectrum = metrics.spectrum
    if spectrum is None:
        return {}
    spectra = {}
    for name, frames in states.items():
        channels = np.asarray(frames[:, -1], np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            shells = spectrum.shells(spectrum.power(channels))
        fields = [shells[:, list(indices)].sum(axis=1) for indices in spec.field_channels]
        spectra[name] = np.stack(fields, axis=1)
    return spectra


def _horizon(metrics: FrameMetrics, states: np.ndarray, cases: Cases, spec: Spec) -> np.ndarray:
    """Return the time until which the rollouts (B, T, C, *sites) are useful, (B,), s."""
    truth, times = cases.state[:, 1:], cases.time
    if spec.has_particles:
        position = list(spec.field_channels[0])
        errors = horizon.position_errors(
            np.asarray(states[:, :, position], np.float64), np.asarray(truth[:, :, position], np.float64)
        )
        return horizon.crossing_times(times, errors, horizon.LARGEST_POSITION_ERROR, start=0.0)
    correlations = metrics.correlations(states, truth)
    return horizon.crossing_times(times, -correlations, -horizon.LEAST_CORRELATION, start=-1.0)


def _probability(prediction: Prediction, truth: np.ndarray, spec: Spec) -> dict[str, np.ndarray]:
    """Return the scores of the predicted distribution, see `BatchMetrics.probability`."""
    deviation = prediction.standard_deviation
    if deviation is None:
        return {}
    mean = prediction.mean[:, 1:].double().numpy(force=True)
    deviations = deviation[:, 1:].double().numpy(force=True)
    members = None if prediction.members is None else prediction.members[:, :, 1:].numpy(force=True)
    results = {
        name: np.empty((*truth.shape[:2], len(spec.fields)))
        for name in ("crps", "absolute_error", "variance", "squared_error")
    }
    for frame in range(truth.shape[1]):
        for field, channels in enumerate(spec.field_channels):
            at = (slice(None), frame, list(channels))
            u = np.asarray(truth[at], np.float64)
            with np.errstate(invalid="ignore", over="ignore"):
                if members is None:
                    crps = gaussian_crps(mean[at], deviations[at], u)
                else:
                    crps = ensemble_crps(np.asarray(members[(slice(None), *at)], np.float64), u)
                scores = (crps, np.abs(mean[at] - u), deviations[at] ** 2, (mean[at] - u) ** 2)
            for name, values in zip(results, scores, strict=True):
                flat_mean = values.reshape(len(u), -1).mean(axis=1)
                results[name][:, frame, field] = np.where(np.isfinite(flat_mean), flat_mean, np.inf)
    return results


def _member_errors(prediction: Prediction, truth: np.ndarray, norms: Sequence[FieldNorm]) -> np.ndarray:
    """Return the headline error of each member at the end of its rollout, (B, E)."""
    if prediction.members is None:
        return np.empty((len(truth), 0))
    return np.stack(
        [
            relative_l2(member[:, -1:].numpy(force=True), truth[:, -1:], norms)[:, 0].mean(axis=1)
            for member in prediction.members
        ],
        axis=1,
    )
