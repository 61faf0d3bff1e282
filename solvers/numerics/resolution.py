"""Checks that a grid resolves the drawn fields, because unresolved waves alias into other waves."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from simsurrogate.errors import UserError
from simsurrogate.spec import DIRECTIONS
from solvers.numerics.grid import Grid
from solvers.numerics.random_fields import half_waves

#: The largest fraction of the variance of a random field in unresolved modes. Aliasing of these modes changes
#: the root mean square of the field by the square root of the fraction (14 %).
UNRESOLVED_LIMIT = 0.02

#: The smallest standard deviation of a Gaussian, in cells; 2.6 % of the variance is then unresolved.
LEAST_GAUSSIAN = 0.5

#: The smallest radius of a ball, in cells.
LEAST_BALL = 1.0


def check_modes(variances: np.ndarray, kinds: Sequence[str], grid: Grid, field: str, remedy: str) -> None:
    """Check that a grid resolves a random field.

    A grid resolves a mode with fewer half waves than cells along each axis (Nyquist criterion).

    Args:
        variances: the expected variance of each mode (count,) * d; the sum is 1.
        kinds: the boundary conditions of the modes along each axis, see `random_fields.half_waves`.
        grid: the grid.
        field: the name of the field for the message.
        remedy: the options to change, for the message.

    Raises:
        UserError: more than `UNRESOLVED_LIMIT` of the variance is unresolved; the message names the fraction
            and a sufficient resolution.
    """
    num_half_waves = [half_waves(kind, count) for kind, count in zip(kinds, variances.shape, strict=True)]
    is_resolved = _true_on_all_axes(
        [n < cells for n, cells in zip(num_half_waves, grid.resolution, strict=True)]
    )
    unresolved_fraction = float(np.sum(variances[~is_resolved]))
    if unresolved_fraction <= UNRESOLVED_LIMIT or not grid.is_checked:
        return
    # A grid resolves a mode with fewer half waves per metre than cells per metre along each axis.
    per_metre = np.max(
        np.meshgrid(
            *(n / length for n, length in zip(num_half_waves, grid.extent, strict=True)), indexing="ij"
        ),
        axis=0,
    ).ravel()
    descending_order = np.argsort(-per_metre)
    dropped_variance = np.cumsum(variances.ravel()[descending_order])
    needed_per_metre = per_metre[descending_order[np.argmax(dropped_variance > UNRESOLVED_LIMIT)]]
    sufficient_cells = [math.floor(needed_per_metre * length + 1e-9) + 1 for length in grid.extent]
    raise UserError(
        f"{field}: {100 * unresolved_fraction:.3g} % of the variance of the field is in modes too short for "
        f"solver.resolution={list(grid.resolution)}. At most {100 * UNRESOLVED_LIMIT:g} % is allowed. Type "
        f"solver.resolution={_refined_resolution(grid, sufficient_cells)} or finer, or choose {remedy}"
    )


def check_size(size: float, least_cells: float, grid: Grid, option: str) -> None:
    """Check that the cells of a grid are narrow enough for a Gaussian or a ball.

    Args:
        size: the standard deviation or the radius, m.
        least_cells: the smallest allowed size, in cells of the widest axis.
        grid: the grid.
        option: the name of the size for the message.

    Raises:
        UserError: the size is too small; the message names the width of a cell and a sufficient resolution.
    """
    axis = int(np.argmax(grid.spacing))
    if size >= least_cells * grid.spacing[axis] * (1 - 1e-9) or not grid.is_checked:
        return
    sufficient_cells = [math.ceil(least_cells * length / size * (1 - 1e-9)) for length in grid.extent]
    raise UserError(
        f"{option}={size:g} m is too small for solver.resolution={list(grid.resolution)}, whose cells are "
        f"{grid.spacing[axis]:.3g} m wide along {DIRECTIONS[axis]}. The smallest allowed size is "
        f"{least_cells:g} cells, {least_cells * grid.spacing[axis]:.3g} m. Type "
        f"solver.resolution={_refined_resolution(grid, sufficient_cells)} or finer, or a larger size"
    )


def _true_on_all_axes(flags: Sequence[np.ndarray]) -> np.ndarray:
    """Return a mask of the elements at which the flags of all axes are true."""
    flag: np.ndarray = np.all(np.meshgrid(*flags, indexing="ij"), axis=0)
    return flag


def _refined_resolution(grid: Grid, sufficient_cells: Sequence[int]) -> list[int]:
    """Return the resolution of the grid, increased to at least `sufficient_cells` along each axis."""
    return [max(pair) for pair in zip(grid.resolution, sufficient_cells, strict=True)]
