"""The cells in the region of a quantity of interest."""

from __future__ import annotations

import numpy as np

from simsurrogate.spec import QuantityOfInterest, Spec


def region_cells(spec: Spec, quantity: QuantityOfInterest) -> tuple[np.ndarray, ...]:
    """Return for each axis which cells have their centre in the region of a quantity, each (size,)."""
    bounds = {name: (lower, upper) for name, lower, upper in quantity.region}
    cells = []
    for axis in spec.axes:
        lower, upper = bounds.get(axis.name, (-np.inf, np.inf))
        cells.append((axis.centres >= lower) & (axis.centres <= upper))
    return tuple(cells)
