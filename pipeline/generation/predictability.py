"""The predictable time of a trajectory: the time until which the error of the steps in time is small.

The difference of two solutions of other accuracies gives the error of the first solution.

Shape letters: T frames, C channels, F fields; `*sites` as in the spec, `*block` are the sites of this rank.
"""

from __future__ import annotations

import numpy as np

from pipeline.data.format.layout import Header
from simsurrogate.spec import Spec
from solvers.contract import DivergedError, Parameters, Solver

#: The largest relative error inside the predictable time.
TOLERANCE = 0.01


class SecondSolution:
    """A trajectory of a solver with another accuracy, which is compared frame by frame.

    `share` is the error of the first solution over the difference, see `Solver.with_other_accuracy`. All
    ranks of the solver's communicator call each method together.
    """

    def __init__(self, solver: Solver, share: float, parameters: Parameters, header: Header):
        self._communicator, self._share, self._header = solver.communicator, share, header
        self._states = iter(solver.prepare(parameters).solve(header.times))
        self._squares: list[np.ndarray] = []

    def add(self, state: np.ndarray) -> None:
        """Compare the next frame with the state (C, *block) of the first solution."""
        try:
            other = next(self._states, None)
        except DivergedError:
            other = None
        if other is None:
            other = np.full_like(state, np.nan)
        self._squares.append(squares(state, other, self._header.spec))

    def predictable_time(self) -> float:
        """Return the predictable time after all frames (s), the same on all ranks."""
        total = sum(self._communicator.allgather(np.array(self._squares)))
        return float(predictable_times(np.asarray(total), self._share, self._header.times))


def squares(states: np.ndarray, others: np.ndarray, spec: Spec) -> np.ndarray:
    """Return the squared norms of difference and state of each field (..., F, 2).

    Both solutions have the shape (..., C, *sites).
    """
    axes = tuple(range(-len(spec.shape) - 1, 0))
    norms = []
    with np.errstate(invalid="ignore", over="ignore"):
        for channels in spec.field_channels:
            values, other_values = (np.take(array, channels, axes[0]) for array in (states, others))
            norms.append([np.sum((values - other_values) ** 2, axis=axes), np.sum(values**2, axis=axes)])
    return np.moveaxis(np.array(norms), (0, 1), (-2, -1))


def predictable_times(norms: np.ndarray, share: float, times: np.ndarray) -> np.ndarray:
    """Return the time of the last frame before the first frame with an error above `TOLERANCE`.

    `norms` (..., T, F, 2) are the `squares`, and the error is `share` of the difference. The error of each
    field is relative to its norm in the frame, or to the root mean square of its norms if this is larger. NaN
    counts as an error.
    """
    differences, sizes = norms[..., 0], norms[..., 1]
    scale = np.maximum(sizes, sizes.mean(axis=-2, keepdims=True))
    is_exact = np.all(share**2 * differences <= TOLERANCE**2 * scale, axis=-1)
    num_frames = np.where(is_exact.all(axis=-1), len(times), np.argmin(is_exact, axis=-1))
    predictable: np.ndarray = times[np.maximum(num_frames - 1, 0)]
    return predictable
