"""Whether a grid keeps the waves that a flow has; what it drops would pile up, or alias into another flow."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from simsurrogate.errors import UserError
from solvers.numerics.dealiased_fourier import largest_kept
from solvers.numerics.grid import Grid
from solvers.numerics.random_fields import half_waves
from solvers.numerics.resolution import UNRESOLVED_LIMIT

#: The fewest cells of an axis: two waves are kept then.
LEAST_CELLS = 8

#: The least standard deviation of a Gaussian vortex, in cells: 1.2 % of its variance is dropped then.
LEAST_VORTEX = 1.0

#: The least thickness of a shear layer, in cells: 1.6 % of the variance of sech^2 is dropped then.
LEAST_LAYER = 1.0


def cells_that_keep(wave_number: int) -> int:
    """The fewest cells, an even number, that keep this many waves along an axis."""
    return 3 * wave_number + 2 - wave_number % 2


def check_cells(resolution: list[int]) -> None:
    """Refuses odd and tiny grids.

    Raises:
        UserError: it names even counts that would do.
    """
    if all(cells % 2 == 0 and cells >= LEAST_CELLS for cells in resolution):
        return
    enough = [max(cells + cells % 2, LEAST_CELLS) for cells in resolution]
    raise UserError(
        f"resolution={resolution}: each axis needs an even number of cells, at least "
        f"{LEAST_CELLS}; use {enough}"
    )


def check_viscosity(
    grid: Grid, *, strain: float, viscosity: float, hyperviscosity: float, order: int, cause: str
) -> None:
    """Refuses a grid whose largest wave number K is not damped as fast as the flow strains it.

    The rate of strain is at most about eta^(1/3), eta the rate at which enstrophy cascades; a wave is
    damped faster once nu k^2 + nu_h k^(2 order) exceeds it, for nu alone from the dissipation wave number
    eta^(1/6) / nu^(1/2) on (Kraichnan 1967, doi:10.1063/1.1762301).

    Args:
        grid: the grid.
        strain: the greatest eta^(1/3) that is drawn, 1/s.
        viscosity: the least nu that is drawn, m^2/s.
        hyperviscosity: the least nu_h that is drawn, m^(2 order)/s.
        order: of the hyperviscosity.
        cause: what sets the strain, for the message.

    Raises:
        UserError: it names the limit and a resolution that would do.
    """

    def damping(cells: list[int]) -> float:
        largest = _largest_wave_number(grid, cells)
        return viscosity * largest**2 + hyperviscosity * largest ** (2 * order)

    found = damping(list(grid.resolution))
    if found >= strain:
        return
    values = f"viscosity={viscosity:g} m^2/s" + (
        f" and hyperviscosity={hyperviscosity:g} m^{2 * order}/s" if hyperviscosity else ""
    )
    if not viscosity and not hyperviscosity:
        raise UserError(
            "viscosity and hyperviscosity may both be 0: no grid resolves that; raise the lower end of one"
        )
    largest = _largest_wave_number(grid, list(grid.resolution))
    limit = (strain - hyperviscosity * largest ** (2 * order)) / largest**2
    enough = _finer(grid, lambda cells: damping(cells) >= strain)
    raise UserError(
        f"{values} cannot be resolved by resolution={list(grid.resolution)}: its largest wave number "
        f"{largest:.4g} rad/m is damped at {found:.3g} 1/s and strained at about {strain:.3g} 1/s "
        f"by {cause}; "
        f"use resolution={enough} or finer, or a viscosity of at least {limit:.3g} m^2/s"
    )


def check_width(width: float, least: float, grid: Grid, option: str) -> None:
    """Refuses a grid whose cells are too wide for a vortex or a layer.

    Args:
        width: its standard deviation or thickness, m.
        least: how many of the widest cells it must span.
        grid: the grid.
        option: what the message calls it.

    Raises:
        UserError: it names the width of a cell and a resolution that would do.
    """

    def widest(cells: list[int]) -> float:
        return least * max(length / count for length, count in zip(grid.extent, cells, strict=True))

    limit = widest(list(grid.resolution))
    if width >= limit * (1 - 1e-9):
        return
    enough = _finer(grid, lambda cells: widest(cells) <= width)
    raise UserError(
        f"{option}: {width:g} m is less than {least:g} cells of {limit / least:.3g} m, too small for "
        f"resolution={list(grid.resolution)}; use resolution={enough} or finer, or at least {limit:.3g} m"
    )


def check_waves(variances: np.ndarray, grid: Grid, field: str, remedy: str) -> None:
    """Refuses a grid that drops more than `UNRESOLVED_LIMIT` of a random field's variance.

    Args:
        variances: of each periodic mode (count, count), see `random_fields.modes`.
        grid: the grid.
        field: what the message calls the field.
        remedy: which options change it, for the message.

    Raises:
        UserError: it names the share and a resolution that would do.
    """
    waves = [half_waves("periodic", count) // 2 for count in variances.shape]
    total = float(np.sum(variances))

    def dropped(cells: list[int]) -> float:
        keeps = np.ix_(*(wave <= largest_kept(count) for wave, count in zip(waves, cells, strict=True)))
        return 1 - float(np.sum(variances[keeps])) / total

    share = dropped(list(grid.resolution))
    if share <= UNRESOLVED_LIMIT:
        return
    raise UserError(
        f"{field}: {100 * share:.3g} % of its variance lies in waves too short for "
        f"resolution={list(grid.resolution)}, more than {100 * UNRESOLVED_LIMIT:g} %; use "
        f"resolution={_finer(grid, lambda cells: dropped(cells) <= UNRESOLVED_LIMIT)} or finer, or {remedy}"
    )


def _largest_wave_number(grid: Grid, cells: list[int]) -> float:
    """The largest wave number (rad/m) that is kept in every direction."""
    return min(
        2 * math.pi / length * largest_kept(count) for length, count in zip(grid.extent, cells, strict=True)
    )


def _finer(grid: Grid, suffices: Callable[[list[int]], bool]) -> list[int]:
    """The coarsest even grid in the proportions of `grid` that suffices, within 2 %."""
    first = grid.resolution[0]
    while True:
        cells = [2 * math.ceil(count * first / grid.resolution[0] / 2) for count in grid.resolution]
        if suffices(cells):
            return cells
        first += 2 * max(first // 100, 1)
