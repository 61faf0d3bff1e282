"""Heaters of constant power that fill boxes at fixed places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Len

from simsurrogate.errors import UserError
from simsurrogate.spec import DIRECTIONS, Parameter
from solvers.contract import Parameters
from solvers.heat.options import NonNegative
from solvers.numerics.grid import Grid
from solvers.numerics.parameter_sampling import check_ranges

_Corner = Annotated[list[NonNegative], Len(1, 3)]


@dataclass(frozen=True)
class BlockOptions:
    """A heater that fills the box from the corner `lower` to the corner `upper` (m).

    `power` (K m^d/s) is the range of its power, divided by the volumetric heat capacity.
    """

    lower: _Corner
    upper: _Corner
    power: tuple[NonNegative, NonNegative]


class Blocks:
    """The constant heat source of all blocks; the scalars `power_1`, `power_2`, ... determine the source.

    The rate of a block is its power over its volume. A cell at the edge of a block gets the share of the cell
    that the block fills, so the power does not depend on the grid.

    Attributes:
        parameters: the drawn scalars; the source is proportional to them.

    Raises:
        UserError: a block has another dimension than the box, is empty, or leaves the box.
    """

    def __init__(self, grid: Grid, options: Sequence[BlockOptions]):
        self._grid = grid
        for index, block in enumerate(options):
            _check(grid, f"solver.blocks[{index}]", block)
        check_ranges(**{f"blocks[{index}].power": block.power for index, block in enumerate(options)})
        self.parameters = tuple(
            Parameter(f"power_{number}", grid_unit(grid), f"power of block {number}", *block.power)
            for number, block in enumerate(options, start=1)
        )
        self._shapes = [_shape(grid, block) for block in options]

    def source(self, parameters: Parameters) -> np.ndarray:
        """Return the heat source of all blocks (K/s) on this rank's block of the grid."""
        total = np.zeros(self._grid.block_shape)
        for parameter, shape in zip(self.parameters, self._shapes, strict=True):
            total += parameters[parameter.name] * shape
        return total


def grid_unit(grid: Grid) -> str:
    """Return the unit of a power over a volumetric heat capacity."""
    dimension = len(grid.extent)
    return "K m/s" if dimension == 1 else f"K m^{dimension}/s"


def _shape(grid: Grid, block: BlockOptions) -> np.ndarray:
    """Return the rate of a block of unit power in each cell (1/m^d) on this rank's block of the grid."""
    shape = np.ones((1,) * len(grid.extent))
    for axis, (lower, upper) in enumerate(zip(block.lower, block.upper, strict=True)):
        width = grid.spacing[axis]
        faces = np.arange(grid.resolution[axis] + 1) * width
        overlap = np.minimum(faces[1:], upper) - np.maximum(faces[:-1], lower)
        share = np.maximum(overlap, 0.0)[grid.block[axis]] / width
        shape = shape * grid.broadcast_along(axis, share / (upper - lower))
    return shape


def _check(grid: Grid, option: str, block: BlockOptions) -> None:
    dimension = len(grid.extent)
    if (len(block.lower), len(block.upper)) != (dimension, dimension):
        raise UserError(
            f"{option} has corners of {len(block.lower)} and {len(block.upper)} numbers in a box of "
            f"{dimension} axes. A corner has one number for each axis. Type {dimension} numbers for "
            f"{option}.lower and {option}.upper"
        )
    for name, lower, upper, length in zip(DIRECTIONS, block.lower, block.upper, grid.extent, strict=False):
        if not lower < upper <= length * (1 + 1e-9):
            raise UserError(
                f"{option} reaches from {lower:g} m to {upper:g} m along {name}. A block has a positive "
                f"length and lies between 0 m and {length:g} m. Type corners {option}.lower and "
                f"{option}.upper in the box"
            )
