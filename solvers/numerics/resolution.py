"""Checks that a grid is fine enough for the drawn fields; unresolved waves would alias into other waves."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from simsurrogate.errors import UserError
from simsurrogate.spec import DIRECTIONS
from solvers.numerics.grid import Grid
from solvers.numerics.random_fields import half_waves

#: The largest share of a random field's variance in modes that the grid does not resolve. These modes alias
#: and change the field by the root of the share (14 %) in the root mean square.
UNRESOLVED_LIMIT = 0.02

#: The smallest standard deviation of a Gaussian, in cells; the grid does not resolve 2.6 % of its variance.
LEAST_GAUSSIAN = 0.5

#: The smallest radius of a ball, in cells.
LEAST_BALL = 1.0


def check_modes(variances: np.ndarray, kinds: Sequence[str], grid: Grid, field: str, remedy: str) -> None:
    """Check that a grid resolves a random field.

    A mode is resolved if its half waves along each axis are fewer than the cells there (Nyquist).

    Args:
        variances: the expected variance of each mode (count,) * d; the sum is 1.
        kinds: the boundary conditions of the modes along each axis, see `random_fields.half_waves`.
        grid: the grid.
        field: the name of the field in the message.
        remedy: the options to change, for the message.

    Raises:
        UserError: more than `UNRESOLVED_LIMIT` of the variance is not resolved; the message names the share
            and a sufficient resolution.
    """
    num_half_waves = [half_waves(kind, count) for kind, count in zip(kinds, variances.shape, strict=True)]
    resolved = _all_axes([n < cells for n, cells in zip(num_half_waves, grid.resolution, strict=True)])
    share = float(np.sum(variances[~resolved]))
    if share <= UNRESOLVED_LIMIT:
        return
    # A mode is resolved by every grid with more cells per metre along each axis than half waves per metre.
    per_metre = np.max(
        np.meshgrid(
            *(n / length for n, length in zip(num_half_waves, grid.extent, strict=True)), indexing="ij"
        ),
        axis=0,
    ).ravel()
    finest_first = np.argsort(-per_metre)
    dropped = np.cumsum(variances.ravel()[finest_first])
    needed = per_metre[finest_first[np.argmax(dropped > UNRESOLVED_LIMIT)]]
    sufficient = [math.floor(needed * length + 1e-9) + 1 for length in grid.extent]
    raise UserError(
        f"{field}: {100 * share:.3g} % of the field's variance is in modes too short for "
        f"solver.resolution={list(grid.resolution)}. At most {100 * UNRESOLVED_LIMIT:g} % is allowed. Type "
        f"solver.resolution={_finer(grid, sufficient)} or finer, or choose {remedy}"
    )


def check_size(size: float, least: float, grid: Grid, option: str) -> None:
    """Check that the cells of a grid are narrow enough for a Gaussian or a ball.

    Args:
        size: the standard deviation or the radius, m.
        least: the smallest allowed size, in cells of the widest axis.
        grid: the grid.
        option: the name of the size in the message.

    Raises:
        UserError: the size is too small; the message names the width of a cell and a sufficient resolution.
    """
    axis = int(np.argmax(grid.spacing))
    if size >= least * grid.spacing[axis] * (1 - 1e-9):
        return
    sufficient = [math.ceil(least * length / size * (1 - 1e-9)) for length in grid.extent]
    raise UserError(
        f"{option}={size:g} m is too small for solver.resolution={list(grid.resolution)}, whose cells are "
        f"{grid.spacing[axis]:.3g} m wide along {DIRECTIONS[axis]}. At least {least:g} cells, "
        f"{least * grid.spacing[axis]:.3g} m, are allowed. Type solver.resolution={_finer(grid, sufficient)} "
        "or finer, or a larger size"
    )


def _all_axes(flags: Sequence[np.ndarray]) -> np.ndarray:
    """Return where the flags of all axes are true, as one array."""
    everywhere: np.ndarray = np.all(np.meshgrid(*flags, indexing="ij"), axis=0)
    return everywhere


def _finer(grid: Grid, sufficient: Sequence[int]) -> list[int]:
    """Return the grid's resolution, raised to at least `sufficient` along each axis."""
    return [max(pair) for pair in zip(grid.resolution, sufficient, strict=True)]
