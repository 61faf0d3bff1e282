"""Held-out trajectories, and the surrogate's predictions of these trajectories.

Shape letters: B trajectories of a batch, T frames, C channels.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from surrogates.contract import ExtrapolationWarning, Prediction

if TYPE_CHECKING:
    from pipeline.data.dataset import Dataset
    from solvers.contract import Parameters
    from surrogates.contract import Surrogate


@dataclass(frozen=True)
class Cases:
    """Trajectories to predict.

    Attributes:
        state: (B, T, C, *sites).
        inputs: each scalar parameter (B,) and each coefficient field (B, *sites) by name.
        solver_parameters: the parameters by which the solver determines each trajectory.
        time: the times of the frames (T,), s.
        index: the index of each trajectory in the data set.
        predictable_time: the predictable time of each trajectory (B,), s; None unless the spec is `chaotic`.
    """

    state: np.ndarray
    inputs: dict[str, np.ndarray]
    solver_parameters: tuple[Parameters, ...]
    time: np.ndarray
    index: tuple[int, ...]
    predictable_time: np.ndarray | None


def load(dataset: Dataset, split: str, indices: Iterable[int]) -> Cases:
    """Return the trajectories of a split with the given indices, counted from 0."""
    trajectories = [dataset.trajectory(split, index) for index in indices]
    coefficients = np.stack([trajectory.coefficient_fields for trajectory in trajectories])
    inputs = {
        name: np.array([trajectory.parameters[name] for trajectory in trajectories])
        for name in dataset.spec.parameter_names
    }
    inputs |= {
        name: coefficients[:, channel] for channel, name in enumerate(dataset.spec.coefficient_channels)
    }
    return Cases(
        state=np.stack([trajectory.state for trajectory in trajectories]),
        inputs=inputs,
        solver_parameters=tuple(
            {**trajectory.parameters, **trajectory.arrays} for trajectory in trajectories
        ),
        time=dataset.times,
        index=tuple(trajectory.index for trajectory in trajectories),
        predictable_time=np.array([trajectory.predictable_time for trajectory in trajectories])
        if dataset.spec.chaotic
        else None,
    )


def predict(surrogate: Surrogate, cases: Cases, first: int, last: int) -> np.ndarray:
    """Return the predicted frames after `first` up to `last`, (B, last - first, C, *sites).

    The prediction starts from the true frame `first`.
    """
    return predict_with_members(surrogate, cases, first, last).mean[:, 1:].numpy(force=True)


def predict_with_members(surrogate: Surrogate, cases: Cases, first: int, last: int) -> Prediction:
    """Return the prediction of the frames `first` to `last`, with the members of an ensemble."""
    with warnings.catch_warnings():
        # The extrapolation split lies outside the training range on purpose.
        warnings.simplefilter("ignore", ExtrapolationWarning)
        return surrogate.predict(cases.state[:, first], cases.inputs, cases.time[first : last + 1])


def closest_states(surrogate: Surrogate, states: np.ndarray) -> np.ndarray | None:
    """Return the states (B, T, C, *sites) of `Surrogate.closest` for true states, or None."""
    like = next(surrogate.parameters())
    with torch.no_grad():
        state = torch.from_numpy(states).flatten(0, 1).to(like.device, like.dtype)
        closest = surrogate.closest(state)
        return None if closest is None else closest.reshape(states.shape).numpy(force=True)
