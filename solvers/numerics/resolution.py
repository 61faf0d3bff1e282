"""Whether a grid is fine enough for what is drawn; what is not resolved would alias into another field."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from simsurrogate.errors import UserError
from simsurrogate.spec import DIRECTIONS
from solvers.numerics.grid import Grid
from solvers.numerics.random_fields import half_waves

#: The share of a random field's variance that may lie in modes beyond the grid; they alias, and change
#: the field by the root of the share (14 %) in the root mean square.
UNRESOLVED_LIMIT = 0.02

#: The least standard deviation of a Gaussian, in cells; 2.6 % of its variance is beyond the grid then.
LEAST_GAUSSIAN = 0.5

#: The least radius of a ball, in cells.
LEAST_BALL = 1.0


def check_modes(variances: np.ndarray, kinds: Sequence[str], grid: Grid, field: str, remedy: str) -> None:
    """Refuses a grid that does not resolve a random field.

    A mode is resolved if its half waves along each axis are fewer than the cells there (Nyquist).

    Args:
        variances: the expected variance of each mode (count,) * d, summing to 1.
        kinds: the modes along each axis, see `random_fields.half_waves`.
        grid: the grid.
        field: what the message calls the field.
        remedy: which options change it, for the message.

    Raises:
        UserError: more than `UNRESOLVED_LIMIT` of the variance is not resolved; it names the share and a
            resolution that would do.
    """
    num_half_waves = [half_waves(kind, count) for kind, count in zip(kinds, variances.shape, strict=True)]
    resolved = _outer([n < cells for n, cells in zip(num_half_waves, grid.resolution, strict=True)])
    share = float(np.sum(variances[~resolved]))
    if share <= UNRESOLVED_LIMIT:
        return
    # Half waves per metre: a mode is resolved by every grid that has more cells per metre along each axis.
    per_metre = np.max(
        np.meshgrid(
            *(n / length for n, length in zip(num_half_waves, grid.extent, strict=True)), indexing="ij"
        ),
        axis=0,
    ).ravel()
    finest_first = np.argsort(-per_metre)
    dropped = np.cumsum(variances.ravel()[finest_first])
    needed = per_metre[finest_first[np.argmax(dropped > UNRESOLVED_LIMIT)]]
    enough = [math.floor(needed * length + 1e-9) + 1 for length in grid.extent]
    raise UserError(
        f"{field}: {100 * share:.3g} % of its variance lies in modes too short for "
        f"resolution={list(grid.resolution)}, more than {100 * UNRESOLVED_LIMIT:g} %; use "
        f"resolution={_finer(grid, enough)} or finer, or {remedy}"
    )


def check_size(size: float, least: float, grid: Grid, option: str) -> None:
    """Refuses a grid whose cells are too wide for a Gaussian or a ball.

    Args:
        size: the standard deviation or the radius, m.
        least: how many of the widest cells it must span.
        grid: the grid.
        option: what the message calls it.

    Raises:
        UserError: it names the width of a cell and a resolution that would do.
    """
    axis = int(np.argmax(grid.spacing))
    if size >= least * grid.spacing[axis] * (1 - 1e-9):
        return
    enough = [math.ceil(least * length / size * (1 - 1e-9)) for length in grid.extent]
    raise UserError(
        f"{option}: {size:g} m is less than {least:g} cells of {grid.spacing[axis]:.3g} m along "
        f"{DIRECTIONS[axis]}, too small for resolution={list(grid.resolution)}; use "
        f"resolution={_finer(grid, enough)} or finer, or at least {least * grid.spacing[axis]:.3g} m"
    )


def _outer(flags: Sequence[np.ndarray]) -> np.ndarray:
    """Where the flags of all axes are true."""
    everywhere: np.ndarray = np.all(np.meshgrid(*flags, indexing="ij"), axis=0)
    return everywhere


def _finer(grid: Grid, enough: Sequence[int]) -> list[int]:
    """The grid's counts of cells, raised to `enough`."""
    return [max(pair) for pair in zip(grid.resolution, enough, strict=True)]
