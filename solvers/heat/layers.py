"""Layers of different diffusivities across one axis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Len

from simsurrogate.errors import UserError
from simsurrogate.spec import DIRECTIONS, Parameter
from simsurrogate.symmetries import CellMap
from solvers.contract import Parameters
from solvers.heat.diffusivity import Diffusivity
from solvers.heat.options import Positive, Range
from solvers.numerics.grid import Grid
from solvers.numerics.parameter_sampling import check_ranges


@dataclass(frozen=True)
class LayersOptions:
    """Layers of constant diffusivity across an axis, from the lower end on.

    `thicknesses` (m) add up to the length of the axis. `ranges` (m^2/s) holds the range of k of each layer.
    """

    kind: Literal["layers"]
    axis: Literal["x", "y", "z"]
    thicknesses: Annotated[list[Positive], Len(1, 100)]
    ranges: list[Range]


class Layers(Diffusivity):
    """The distribution of layers; the scalars `diffusivity_1`, `diffusivity_2`, ... determine k.

    A cell with an interface has the harmonic mean of k over the cell along the axis, which is exact for
    steady conduction across the layers.
    """

    fields = ()
    smooth = False

    def __init__(self, grid: Grid, options: LayersOptions):
        self._axis = DIRECTIONS.index(options.axis)
        _check_layers(grid, self._axis, options)
        self._names = [f"diffusivity_{layer}" for layer in range(1, len(options.ranges) + 1)]
        lows, highs = zip(*options.ranges, strict=True)
        super().__init__(grid, min(lows), max(highs))
        self.parameters = tuple(
            Parameter(name, "m^2/s", f"k in layer {layer} along {options.axis}", *limits)
            for layer, (name, limits) in enumerate(zip(self._names, options.ranges, strict=True), start=1)
        )
        self.upper_bound = max(highs)
        width = grid.spacing[self._axis]
        ends = np.cumsum([0.0, *options.thicknesses])
        cells = np.arange(grid.resolution[self._axis] + 1) * width
        overlap = np.minimum(cells[1:], ends[1:, None]) - np.maximum(cells[:-1], ends[:-1, None])
        shares = np.maximum(overlap, 0.0) / width
        # Sums of rounded thicknesses may differ from the faces of the cells by round-off.
        shares[shares < 1e-9] = 0.0
        self._shares = (shares / shares.sum(axis=0))[:, grid.block[self._axis]]

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw no arrays, because the scalars determine k."""
        return {}

    def field(self, parameters: Parameters) -> np.ndarray:
        """Return k (m^2/s), see `Diffusivity.field`."""
        resistance = sum(
            share / parameters[name] for name, share in zip(self._names, self._shares, strict=True)
        )
        along_axis = self.grid.broadcast_along(self._axis, np.asarray(1 / resistance))
        return np.broadcast_to(along_axis, self.grid.block_shape).copy()

    def is_invariant(self, cell_map: CellMap) -> bool:
        """Return whether a map keeps the cells along the axis of the layers, see `Diffusivity`."""
        axis = self._axis
        return (cell_map.axes[axis], cell_map.signs[axis], cell_map.cells[axis]) == (axis, 1, 0)


def _check_layers(grid: Grid, axis: int, options: LayersOptions) -> None:
    """Check that layers fill an axis of the box.

    Raises:
        UserError: the box has no such axis, or the layers do not fill it; the message names the numbers.
    """
    if axis >= len(grid.extent):
        raise UserError(
            f"solver.diffusivity.axis={options.axis} is no axis of a box with {len(grid.extent)} lengths in "
            f"solver.extent. The axes are {', '.join(DIRECTIONS[: len(grid.extent)])}. Type "
            f"solver.diffusivity.axis={DIRECTIONS[len(grid.extent) - 1]}"
        )
    total, length = sum(options.thicknesses), grid.extent[axis]
    if not math.isclose(total, length, rel_tol=1e-9):
        raise UserError(
            f"solver.diffusivity.thicknesses={options.thicknesses} add up to {total:g} m, and the box is "
            f"{length:g} m long along {options.axis}. The layers must fill the box. Type thicknesses with "
            f"the sum {length:g}"
        )
    if len(options.ranges) != len(options.thicknesses):
        raise UserError(
            f"solver.diffusivity.ranges has {len(options.ranges)} ranges for {len(options.thicknesses)} "
            "layers in solver.diffusivity.thicknesses. Each layer needs one range [LOW, HIGH]. Type "
            "solver.diffusivity.ranges=[[LOW,HIGH],...] with one range for each layer"
        )
    check_ranges(
        **{f"diffusivity.ranges[{layer}]": tuple(limits) for layer, limits in enumerate(options.ranges)}
    )
    thinnest, width = min(options.thicknesses), grid.spacing[axis]
    if grid.is_checked and thinnest < width * (1 - 1e-9):
        raise UserError(
            f"solver.diffusivity.thicknesses={options.thicknesses} has a layer of {thinnest:g} m, thinner "
            f"than a cell of {width:.3g} m along {options.axis}. A layer is at least one cell thick. Type "
            f"at least {math.ceil(length / thinnest * (1 - 1e-9))} cells along {options.axis} in "
            "solver.resolution"
        )
