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

from pipeline import progress
from pipeline.evaluation.baselines import persistence, training_mean
from pipeline.evaluation.metrics import METRICS, FieldChannels
from surrogates.contract import ExtrapolationWarning

if TYPE_CHECKING:
    from mpi4py import MPI

    from pipeline.data.dataset import Dataset
    from surrogates.contract import Surrogate

PREDICTORS = ("surrogate", "persistence", "mean")
MODES = ("one_step", "roll_out")


@dataclass(frozen=True)
class Cases:
    """Trajectories to predict: `state` (B, T, C, *sites) at `time` (T,); `parameters` maps each scalar
    parameter to (B,) and each coefficient field to (B, *sites); `index` tells who they are.
    """

    state: np.ndarray
    parameters: dict[str, np.ndarray]
    time: np.ndarray
    index: tuple[int, ...]


def load(dataset: Dataset, split: str, numbers: Iterable[int]) -> Cases:
    """Trajectories of a split by their places in it."""
    found = [dataset.trajectory(split, number) for number in numbers]
    coefficients = np.stack([trajectory.coefficients for trajectory in found])
    parameters = {
        name: np.array([trajectory.parameters[name] for trajectory in found]) for name in dataset.parameters
    }
    parameters |= {name: coefficients[:, place] for place, name in enumerate(dataset.coefficients)}
    state = np.stack([trajectory.state for trajectory in found])
    return Cases(state, parameters, dataset.times, tuple(trajectory.index for trajectory in found))


def predict(surrogate: Surrogate, cases: Cases, first: int, last: int) -> np.ndarray:
    """The surrogate's frames after `first` up to `last`, (B, last - first, C, *sites), from the true
    frame `first`.
    """
    times = cases.time[first : last + 1]
    with warnings.catch_warnings():
        # One of the splits lies outside the training range on purpose.
        warnings.simplefilter("ignore", ExtrapolationWarning)
        frames = surrogate.predict(cases.state[:, first], cases.parameters, times)
    return frames[:, 1:].numpy(force=True)


def measure(
    surrogate: Surrogate, dataset: Dataset, split: str, batch_size: int, communicator: MPI.Intracomm
) -> tuple[np.ndarray, list[int]] | None:
    """The errors (N, predictors, modes, metrics, T - 1, F) and the index of each trajectory, on rank 0;
    None elsewhere.

    The order of the middle axes is that of `PREDICTORS`, `MODES` and `METRICS`; frame t is the (t + 1)-th
    of the trajectory, as the first is given. `one_step` starts from the true frame before, `roll_out`
    from the initial state. Ranks take whole batches, so that the numbers are the same on any number of
    ranks, and at most one batch is in a rank's memory.
    """
    total = dataset.num_trajectories(split)
    starts = range(0, total, batch_size)
    fields = field_channels(dataset)
    mean = np.asarray(surrogate.problem.statistics.mean)
    mine = starts[communicator.rank :: communicator.size]
    measured = {}
    for start in progress.bar(mine, f"{split} batches", rank=communicator.rank):
        cases = load(dataset, split, range(start, min(start + batch_size, total)))
        measured[start] = _batch_errors(surrogate, cases, mean, fields), cases.index
    gathered = communicator.gather(measured, root=0)
    if gathered is None:
        return None
    everything = dict(ChainMap(*gathered))
    errors = np.concatenate([everything[start][0] for start in starts])
    return errors, [index for start in starts for index in everything[start][1]]


def field_channels(dataset: Dataset) -> FieldChannels:
    """The channels of each field of the data set, in the order of its spec."""
    groups, used = [], 0
    for field in dataset.spec["fields"]:
        size = 1 if field["order"] == 0 else len(dataset.spec["axes"])
        groups.append(tuple(range(used, used + size)))
        used += size
    assert used == len(dataset.channels), f"{used} channels in the spec, {len(dataset.channels)} in the data"
    return groups


def _batch_errors(surrogate: Surrogate, cases: Cases, mean: np.ndarray, fields: FieldChannels) -> np.ndarray:
    truth = cases.state[:, 1:]
    num_frames = truth.shape[1]
    roll_outs = {
        "surrogate": predict(surrogate, cases, 0, num_frames),
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
