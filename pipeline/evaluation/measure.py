"""The errors of the surrogate and of the baselines on one split, measured over the ranks.

Shape letters: B trajectories of a batch, T frames, C channels, F fields, Q invariants.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray

from pipeline.evaluation.baselines.fits import FittedPredictor
from pipeline.evaluation.baselines.linear_map import LinearBaseline
from pipeline.evaluation.baselines.untrained import linear_solution, persistence, training_mean
from pipeline.evaluation.calibration import ensemble_spread
from pipeline.evaluation.cases import Cases, closest_states, load, predict, predict_with_members
from pipeline.evaluation.invariants import invariants
from pipeline.evaluation.metrics import METRICS, FieldNorm, below_floor, field_norms
from pipeline.evaluation.metrics.batch import NUM_LYAPUNOV, BatchMetrics, lyapunov_exponents, measure_batch
from pipeline.evaluation.metrics.frame_metrics import FrameMetrics
from pipeline.evaluation.schema import MODES, Mode, Predictor
from pipeline.problem import problem_of
from pipeline.runs import progress

if TYPE_CHECKING:
    from mpi4py import MPI

    from pipeline.data.dataset import Dataset
    from simsurrogate.spec import Spec
    from solvers.contract import Solver, Trajectory
    from surrogates.contract import Surrogate


@dataclass(frozen=True)
class Measurements:
    """Measurements of trajectories, in the order of the split.

    Attributes:
        errors: dimensions trajectory, predictor, mode, metric, time, field. The first frame is an input and
            has no error.
        below_floor: whether the norm of the truth is below its floor, dimensions trajectory, time, metric,
            field.
        invariants: dimensions trajectory, source (truth, prediction), time, invariant; the prediction is the
            rollout.
        spread: the ensemble spread, dimensions trajectory, time, field; None for a single model.
        members: the number of members of the surrogate.
        predictable_time: the predictable time of each trajectory, s; None unless the spec is `chaotic`.
        batch: all other metrics.
    """

    errors: xarray.DataArray
    below_floor: xarray.DataArray
    invariants: xarray.DataArray
    spread: xarray.DataArray | None
    members: int
    predictable_time: np.ndarray | None
    batch: BatchMetrics

    @property
    def index(self) -> list[int]:
        """The index of each trajectory in the data set."""
        return [int(index) for index in self.errors["trajectory"]]


def measure(
    surrogate: Surrogate,
    solver: Solver | None,
    dataset: Dataset,
    split: str,
    *,
    batch_size: int,
    communicator: MPI.Intracomm,
    fitted: Mapping[FittedPredictor, LinearBaseline],
) -> Measurements | None:
    """Return the errors of surrogate and baselines, and the invariants, on rank 0; None on other ranks.

    `one_step` starts from the previous true frame, `rollout` from the initial state. `solver` is the solver
    of the data set, on this rank alone, or None for adopted data without a solver. `fitted` holds the
    baselines that were fitted to the training split. Ranks take whole batches, so the numbers are the same on
    any number of ranks, and a rank's memory holds at most one batch.
    """
    total = dataset.num_trajectories(split)
    statistics = problem_of(dataset).statistics
    fields, metrics = field_norms(dataset.spec, statistics), FrameMetrics(dataset.spec)
    starts = range(0, total, batch_size)
    own_starts = starts[communicator.rank :: communicator.size]
    measurements_by_start = {}
    for start in progress.bar(own_starts, f"{split} batches", rank=communicator.rank):
        cases = load(dataset, split, range(start, min(start + batch_size, total)))
        trajectories = _prepared(solver, cases, dataset.spec)
        exponents = lyapunov_exponents(
            trajectories if dataset.spec.chaotic else (),
            cases,
            np.asarray(statistics.std),
            NUM_LYAPUNOV - start,
        )
        measurements_by_start[start] = _measure_batch(
            surrogate,
            trajectories=trajectories,
            cases=cases,
            spec=dataset.spec,
            norms=fields,
            metrics=metrics,
            exponents=exponents,
            fitted=fitted,
        )
    gathered_measurements = communicator.gather(measurements_by_start, root=0)
    if gathered_measurements is None:
        return None
    all_measurements = dict(ChainMap(*gathered_measurements))
    ordered_measurements: list[Measurements] = [all_measurements[start] for start in starts]
    predictable_times = [
        batch.predictable_time for batch in ordered_measurements if batch.predictable_time is not None
    ]
    spreads = [batch.spread for batch in ordered_measurements if batch.spread is not None]
    return Measurements(
        xarray.concat([batch.errors for batch in ordered_measurements], "trajectory"),
        xarray.concat([batch.below_floor for batch in ordered_measurements], "trajectory"),
        xarray.concat([batch.invariants for batch in ordered_measurements], "trajectory"),
        xarray.concat(spreads, "trajectory") if spreads else None,
        ordered_measurements[0].members,
        np.concatenate(predictable_times) if predictable_times else None,
        BatchMetrics.concatenate([batch.batch for batch in ordered_measurements]),
    )


def _prepared(solver: Solver | None, cases: Cases, spec: Spec) -> list[Trajectory]:
    """Return the prepared trajectory of each case; empty without a solver of the states of `spec`."""
    # Quantities of interest are no states of the solver.
    if solver is None or solver.spec.channels != spec.channels:
        return []
    return [solver.prepare(parameters) for parameters in cases.solver_parameters]


def _measure_batch(
    surrogate: Surrogate,
    *,
    trajectories: Sequence[Trajectory],
    cases: Cases,
    spec: Spec,
    norms: Sequence[FieldNorm],
    metrics: FrameMetrics,
    exponents: np.ndarray,
    fitted: Mapping[FittedPredictor, LinearBaseline],
) -> Measurements:
    prediction = predict_with_members(surrogate, cases, 0, cases.state.shape[1] - 1)
    rollout = prediction.mean[:, 1:].numpy(force=True)
    predicted_states = np.concatenate([cases.state[:, :1], rollout], axis=1)
    invariant_names = [invariant.name for invariant in spec.frame_invariants]
    invariant_values = [
        invariants(trajectories, states, invariant_names) for states in (cases.state, predicted_states)
    ]
    coordinates = {"trajectory": list(cases.index), "time": cases.time[1:]}
    fields = [field.name for field in spec.fields]
    spread = ensemble_spread(prediction, cases, norms)
    own_predictions: dict[Mode, np.ndarray] = {
        "rollout": rollout,
        "one_step": _single_steps(surrogate, cases),
    }
    predictions: dict[tuple[Predictor, Mode], np.ndarray] = {
        **{("surrogate", mode): states for mode, states in own_predictions.items()},
        **_baselines(trajectories, cases, np.asarray(surrogate.problem.statistics.mean)),
        **{
            (name, mode): baseline.predict(cases.state, mode)
            for name, baseline in fitted.items()
            for mode in MODES
        },
        **_error_parts(surrogate, cases.state[:, 1:], own_predictions),
    }
    return Measurements(
        _errors(predictions, cases, spec, norms),
        xarray.DataArray(
            below_floor(cases.state[:, 1:], norms),
            dims=("trajectory", "time", "metric", "field"),
            coords=coordinates | {"metric": list(METRICS), "field": fields},
        ),
        xarray.DataArray(
            np.stack(invariant_values, axis=1),
            dims=("trajectory", "source", "time", "invariant"),
            coords={
                "trajectory": list(cases.index),
                "source": ["truth", "prediction"],
                "time": cases.time,
                "invariant": invariant_names,
            },
        ),
        None
        if spread is None
        else xarray.DataArray(
            spread, dims=("trajectory", "time", "field"), coords=coordinates | {"field": fields}
        ),
        1 if prediction.members is None else len(prediction.members),
        cases.predictable_time,
        measure_batch(
            metrics, predictions, prediction, cases=cases, spec=spec, norms=norms, lyapunov=exponents
        ),
    )


def _baselines(
    trajectories: Sequence[Trajectory], cases: Cases, mean: np.ndarray
) -> dict[tuple[Predictor, Mode], np.ndarray]:
    """Return the baselines at each frame after the first; `mean` (C,) is that of the training split."""
    states = cases.state
    training_means = training_mean(mean, states[:, 1:])
    predictions: dict[tuple[Predictor, Mode], np.ndarray] = {
        ("persistence", "rollout"): persistence(states[:, 0], states.shape[1] - 1),
        ("persistence", "one_step"): states[:, :-1],
        ("mean", "rollout"): training_means,
        ("mean", "one_step"): training_means,
    }
    for mode in MODES if trajectories else ():
        solution = linear_solution(trajectories, states, cases.time, mode)
        if solution is not None:
            predictions["linear", mode] = solution
    return predictions


def _error_parts(
    surrogate: Surrogate, truth: np.ndarray, predictions: Mapping[Mode, np.ndarray]
) -> dict[tuple[Predictor, Mode], np.ndarray]:
    """Return states whose errors are the projection error and the regression error; empty without them.

    `truth` and `predictions` have the shape (B, T - 1, C, *sites), see `Surrogate.closest`.
    """
    closest = closest_states(surrogate, truth)
    if closest is None:
        return {}
    parts: dict[tuple[Predictor, Mode], np.ndarray] = {}
    for mode, states in predictions.items():
        parts["projection", mode] = closest
        parts["regression", mode] = truth + (states - closest)
    return parts


def _errors(
    predictions: Mapping[tuple[Predictor, Mode], np.ndarray],
    cases: Cases,
    spec: Spec,
    norms: Sequence[FieldNorm],
) -> xarray.DataArray:
    """Return the errors of one batch, see `Measurements`."""
    truth = cases.state[:, 1:]
    predictors = list(dict.fromkeys(predictor for predictor, _ in predictions))
    errors = xarray.DataArray(
        np.empty((len(truth), len(predictors), len(MODES), len(METRICS), truth.shape[1], len(norms))),
        dims=("trajectory", "predictor", "mode", "metric", "time", "field"),
        coords={
            "trajectory": list(cases.index),
            "predictor": predictors,
            "mode": list(MODES),
            "metric": list(METRICS),
            "time": cases.time[1:],
            "field": [field.name for field in spec.fields],
        },
    )
    for (predictor, mode), states in predictions.items():
        for name, metric in METRICS.items():
            errors.loc[{"predictor": predictor, "mode": mode, "metric": name}] = metric(states, truth, norms)
    return errors


def _single_steps(surrogate: Surrogate, cases: Cases) -> np.ndarray:
    """Return the prediction of each frame from the previous true frame, (B, T - 1, ...)."""
    num_frames = cases.state.shape[1]
    steps = [predict(surrogate, cases, frame, frame + 1) for frame in range(num_frames - 1)]
    return np.concatenate(steps, axis=1)
