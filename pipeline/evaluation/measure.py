"""The errors of the surrogate and of the baselines on one split, measured over the ranks.

Shape letters: N trajectories of the split, B of a batch, T frames, C channels, F fields.
"""

from __future__ import annotations

import warnings
from collections import ChainMap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.evaluation.baselines import persistence, training_mean
from pipeline.evaluation.calibration import spread
from pipeline.evaluation.invariants import invariants
from pipeline.evaluation.metrics import METRICS, FieldChannels
from pipeline.runs import progress
from surrogates.contract import ExtrapolationWarning
from surrogates.deep_ensemble import Ensemble

if TYPE_CHECKING:
    from mpi4py import MPI

    from pipeline.data.dataset import Dataset
    from solvers.contract import Parameters, Solver
    from surrogates.contract import Surrogate

PREDICTORS = ("surrogate", "persistence", "mean")
MODES = ("one_step", "roll_out")


@dataclass(frozen=True)
class Cases:
    """Trajectories to predict: `state` (B, T, C, *sites) at `time` (T,); `parameters` maps each scalar
    parameter to (B,) and each coefficient field to (B, *sites); `drawn` (B,) is what the solver
    determines each trajectory by; `index` tells who they are.
    """

    state: np.ndarray
    parameters: dict[str, np.ndarray]
    drawn: tuple[Parameters, ...]
    time: np.ndarray
    index: tuple[int, ...]


def load(dataset: Dataset, split: str, numbers: Iterable[int]) -> Cases:
    """Trajectories of a split by their places in it."""
    found = [dataset.trajectory(split, number) for number in numbers]
    coefficients = np.stack([trajectory.coefficient_fields for trajectory in found])
    parameters = {
        name: np.array([trajectory.parameters[name] for trajectory in found])
        for name in dataset.spec.parameter_names
    }
    parameters |= {
        name: coefficients[:, place] for place, name in enumerate(dataset.spec.coefficient_channels)
    }
    return Cases(
        state=np.stack([trajectory.state for trajectory in found]),
        parameters=parameters,
        drawn=tuple({**trajectory.parameters, **trajectory.arrays} for trajectory in found),
        time=dataset.times,
        index=tuple(trajectory.index for trajectory in found),
    )


@dataclass(frozen=True)
class Measured:
    """What was measured of trajectories (N), in the order of their places in the split.

    `errors` (N, predictors, modes, metrics, T - 1, F), the middle axes in the order of `PREDICTORS`,
    `MODES` and `METRICS`; frame t is the (t + 1)-th of the trajectory, as the first is given.
    `invariants` (N, 2, T, Q): of the true states and of the surrogate's roll-out. `index` (N,): the
    index of each trajectory in the data set. `spread` (N, T - 1, F): that of an ensemble's `num_members`,
    see `pipeline.evaluation.calibration`.
    """

    errors: np.ndarray
    invariants: np.ndarray
    index: tuple[int, ...]
    spread: np.ndarray
    num_members: int


def predict(surrogate: Surrogate, cases: Cases, first: int, last: int) -> np.ndarray:
    """The surrogate's frames after `first` up to `last`, (B, last - first, C, *sites), from the true
    frame `first`.
    """
    times = cases.time[first : last + 1]
    with warnings.catch_warnings():
        # One of the splits lies outside the training range on purpose.
        warnings.simplefilter("ignore", ExtrapolationWarning)
        frames = surrogate.predict(cases.state[:, first], cases.parameters, times).mean
    return frames[:, 1:].numpy(force=True)


def measure(
    surrogate: Surrogate,
    solver: Solver,
    dataset: Dataset,
    split: str,
    *,
    batch_size: int,
    communicator: MPI.Intracomm,
) -> Measured | None:
    """The errors of the surrogate and of the baselines, and the invariants, on rank 0; None elsewhere.

    `one_step` starts from the true frame before, `roll_out` from the initial state. `solver` is the one
    of the data set, on this rank alone. Ranks take whole batches, so that the numbers are the same on any
    number of ranks, and at most one batch is in a rank's memory.
    """
    total = dataset.num_trajectories(split)
    starts = range(0, total, batch_size)
    fields = dataset.spec.field_channels
    mean = np.asarray(surrogate.problem.statistics.mean)
    mine = starts[communicator.rank :: communicator.size]
    measured = {}
    for start in progress.bar(mine, f"{split} batches", rank=communicator.rank):
        cases = load(dataset, split, range(start, min(start + batch_size, total)))
        measured[start] = _of_batch(surrogate, solver, cases, mean, fields)
    gathered = communicator.gather(measured, root=0)
    if gathered is None:
        return None
    everything = dict(ChainMap(*gathered))
    ordered: list[Measured] = [everything[start] for start in starts]
    return Measured(
        np.concatenate([one.errors for one in ordered]),
        np.concatenate([one.invariants for one in ordered]),
        tuple(index for one in ordered for index in one.index),
        np.concatenate([one.spread for one in ordered]),
        ordered[0].num_members,
    )


def _of_batch(
    surrogate: Surrogate, solver: Solver, cases: Cases, mean: np.ndarray, fields: FieldChannels
) -> Measured:
    rolled_out = predict(surrogate, cases, 0, cases.state.shape[1] - 1)
    everything = np.concatenate([cases.state[:, :1], rolled_out], axis=1)
    conserved = [invariants(solver, states, cases.drawn) for states in (cases.state, everything)]
    errors = _errors(surrogate, cases, rolled_out, mean, fields)
    return Measured(
        errors,
        np.stack(conserved, axis=1),
        cases.index,
        spread(surrogate, cases, fields),
        len(surrogate.members) if isinstance(surrogate, Ensemble) else 1,
    )


def _errors(
    surrogate: Surrogate, cases: Cases, rolled_out: np.ndarray, mean: np.ndarray, fields: FieldChannels
) -> np.ndarray:
    truth = cases.state[:, 1:]
    num_frames = truth.shape[1]
    roll_outs = {
        "surrogate": rolled_out,
        "persistence": persistence(cases.state[:, 0], num_frames),
        "mean": training_mean(mean, truth),
    }
    shape = (len(truth), len(PREDICTORS), len(MODES), len(METRICS), num_frames, len(fields))
    errors = np.empty(shape)
    for place, metric in enumerate(METRICS.values()):
        for row, name in enumerate(PREDICTORS):
            errors[:, row, 1, place] = metric(roll_outs[name], truth, fields)
        errors[:, 1, 0, place] = metric(cases.state[:, :-1], truth, fields)
    errors[:, 2, 0] = errors[:, 2, 1]
    for frame in range(num_frames):
        step, true = predict(surrogate, cases, frame, frame + 1), truth[:, frame : frame + 1]
        for place, metric in enumerate(METRICS.values()):
            errors[:, 0, 0, place, frame : frame + 1] = metric(step, true, fields)
    return errors
