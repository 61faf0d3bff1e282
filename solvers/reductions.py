"""The quantities of interest that reduce a channel of the state over a region.

Shape letters: T frames, C channels; `*block` are the sites of this rank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from simsurrogate.regions import region_cells
from simsurrogate.spec import QuantityOfInterest, Spec

if TYPE_CHECKING:
    from mpi4py import MPI

#: The value of an empty region on a rank, by the reduction over ranks.
_EMPTY = {"max": -np.inf, "min": np.inf, "mean": 0.0}
_REDUCTIONS: dict[str, Callable[..., np.ndarray]] = {"max": np.max, "min": np.min, "mean": np.sum}


class Reductions:
    """The quantities with `reduce` of a spec, see `simsurrogate.spec.QuantityOfInterest`.

    Args:
        spec: the spec of the data.
        block: the slice of this rank's sites along each axis.
        communicator: the ranks that share a state.
    """

    def __init__(self, spec: Spec, block: tuple[slice, ...], communicator: MPI.Intracomm):
        self._communicator = communicator
        self._quantities = [quantity for quantity in spec.quantities if quantity.reduce is not None]
        self._channels = [spec.channels.index(quantity.of) for quantity in self._quantities]
        regions = [region_cells(spec, quantity) for quantity in self._quantities]
        self._num_cells = [int(np.prod([cells.sum() for cells in region])) for region in regions]
        self._cells = [
            np.ix_(*(np.flatnonzero(cells[part]) for cells, part in zip(region, block, strict=True)))
            for region in regions
        ]

    def of_states(self, states: np.ndarray) -> dict[str, np.ndarray]:
        """Return the reductions of states (..., C, *block), each (...), by the names of the quantities.

        The value of a quantity `time_above` is the largest value in its region. All ranks call this method
        together.
        """
        values = {}
        sites = len(self._cells[0]) if self._cells else 0
        for quantity, channel, cells, count in zip(
            self._quantities, self._channels, self._cells, self._num_cells, strict=True
        ):
            field = np.moveaxis(states, -sites - 1, 0)[channel][(..., *cells)]
            values[quantity.name] = self._reduced(quantity, field, sites, count)
        return values

    def of_state(self, state: np.ndarray) -> dict[str, float]:
        """Return the reductions of one state (C, *block), see `of_states`."""
        return {name: float(value) for name, value in self.of_states(state).items()}

    def durations(self, columns: Mapping[str, np.ndarray], times: np.ndarray) -> dict[str, np.ndarray]:
        """Return the values of the quantities `time_above` (rows, T), s, from their largest values."""
        return {
            quantity.name: _time_above(columns[quantity.name], quantity.threshold, times)
            for quantity in self._quantities
            if quantity.reduce == "time_above"
        }

    def _reduced(
        self, quantity: QuantityOfInterest, field: np.ndarray, num_axes: int, num_cells: int
    ) -> np.ndarray:
        """Return the reduction of a field over its last axes and over the ranks."""
        kind = "max" if quantity.reduce == "time_above" else str(quantity.reduce)
        axes = tuple(range(field.ndim - num_axes, field.ndim))
        if field.size == 0:
            own = np.full(field.shape[: field.ndim - num_axes], _EMPTY[kind])
        else:
            own = _REDUCTIONS[kind](field, axis=axes)
        by_rank = np.stack(self._communicator.allgather(own))
        if kind == "mean":
            return np.asarray(by_rank.sum(axis=0) / num_cells)
        return np.asarray(by_rank.max(axis=0) if kind == "max" else by_rank.min(axis=0))


def _time_above(values: np.ndarray, threshold: float, times: np.ndarray) -> np.ndarray:
    """Return the time (s) above a threshold from the start to each frame, for values (rows, T)."""
    first, second = values[:, :-1] - threshold, values[:, 1:] - threshold
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = np.abs(first) / (np.abs(first) + np.abs(second))
    share = np.select(
        [(first > 0) & (second > 0), (first <= 0) & (second <= 0), first > 0],
        [1.0, 0.0, crossing],
        1 - crossing,
    )
    elapsed = np.cumsum(share * np.diff(times), axis=1)
    return np.concatenate([np.zeros((len(values), 1)), elapsed], axis=1)
