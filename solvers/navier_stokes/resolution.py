"""Checks that a grid keeps the waves of a flow.

Waves that the grid does not keep would alias into another flow, or their variance would pile up.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from simsurrogate.errors import UserError
from solvers.numerics.dealiased_fourier import largest_kept
from solvers.numerics.grid import Grid
from solvers.numerics.random_fields import half_waves
from solvers.numerics.resolution import UNRESOLVED_LIMIT

#: The fewest cells of an axis; 8 cells keep two waves.
LEAST_CELLS = 8

#: The least standard deviation of a Gaussian vortex in cells; the grid then drops 1.2 % of its variance.
LEAST_VORTEX = 1.0

#: The least thickness of a shear layer in cells; the grid then drops 1.6 % of the variance of sech^2.
LEAST_LAYER = 1.0


def cells_that_keep(wave_number: int) -> int:
    """Return the fewest cells, an even number, that keep this many waves along an axis."""
    return 3 * wave_number + 2 - wave_number % 2


def check_cells(resolution: list[int]) -> None:
    """Refuse odd and tiny grids.

    Raises:
        UserError: an axis has an odd number of cells, or fewer than 8.
    """
    if all(cells % 2 == 0 and cells >= LEAST_CELLS for cells in resolution):
        return
    enough = [max(cells + cells % 2, LEAST_CELLS) for cells in resolution]
    raise UserError(
        f"solver.resolution={resolution} has an odd or too small number of cells. Each axis needs an even "
        f"number of cells, at least {LEAST_CELLS}. Use solver.resolution={_typed(enough)}"
    )


def check_viscosity(
    grid: Grid, *, strain_rate: float, viscosity: float, hyperviscosity: float, order: int, cause: str
) -> None:
    """Refuse a grid with a largest wave number K that the flow strains faster than K is damped.

    The rate of strain is at most about eta^(1/3), with eta the rate at which enstrophy cascades. A wave is
    damped faster than strained where nu k^2 + nu_h k^(2 order) exceeds it; for nu alone, above the
    dissipation wave number eta^(1/6) / nu^(1/2) (Kraichnan 1967, doi:10.1063/1.1762301).

    Args:
        grid: the grid.
        strain_rate: the largest eta^(1/3) that is drawn, 1/s.
        viscosity: the least nu that is drawn, m^2/s.
        hyperviscosity: the least nu_h that is drawn, m^(2 order)/s.
        order: the order of the hyperviscosity.
        cause: the option that determines the strain, for the message.

    Raises:
        UserError: the damping of K is less than the strain; the message names a resolution and a viscosity
            that suffice.
    """

    def damping(cells: list[int]) -> float:
        largest = _largest_wave_number(grid, cells)
        return viscosity * largest**2 + hyperviscosity * largest ** (2 * order)

    damping_rate = damping(list(grid.resolution))
    if damping_rate >= strain_rate:
        return
    values = f"viscosity={viscosity:g} m^2/s" + (
        f" and hyperviscosity={hyperviscosity:g} m^{2 * order}/s" if hyperviscosity else ""
    )
    if not viscosity and not hyperviscosity:
        raise UserError(
            "solver.viscosity and solver.hyperviscosity.range both start at 0. No grid resolves a flow "
            "without either. Raise the lower end of one"
        )
    largest = _largest_wave_number(grid, list(grid.resolution))
    limit = (strain_rate - hyperviscosity * largest ** (2 * order)) / largest**2
    enough = _finer(grid, lambda cells: damping(cells) >= strain_rate)
    raise UserError(
        f"{values} cannot be resolved by resolution={list(grid.resolution)}: its largest wave number "
        f"{largest:.4g} rad/m is damped at {damping_rate:.3g} 1/s and strained at about "
        f"{strain_rate:.3g} 1/s by {cause}. The damping must be at least the strain. "
        f"Use solver.resolution={_typed(enough)} or finer, or a viscosity of at least {limit:.3g} m^2/s"
    )


def check_width(width: float, least: float, grid: Grid, option: str) -> None:
    """Refuse a grid with cells too wide for a vortex or a layer.

    Args:
        width: the least standard deviation or thickness, m.
        least: the number of widest cells that the width must span.
        grid: the grid.
        option: the option that holds the range of the width.

    Raises:
        UserError: the width spans fewer cells; the message names a resolution and a width that suffice.
    """

    def least_width(cells: list[int]) -> float:
        return least * max(length / count for length, count in zip(grid.extent, cells, strict=True))

    limit = least_width(list(grid.resolution))
    if width >= limit * (1 - 1e-9):
        return
    enough = _finer(grid, lambda cells: least_width(cells) <= width)
    raise UserError(
        f"solver.{option} starts at {width:g} m, less than {least:g} cells of {limit / least:.3g} m with "
        f"resolution={list(grid.resolution)}. It must span at least {least:g}. Use "
        f"solver.resolution={_typed(enough)} or finer, or at least {limit:.3g} m"
    )


def check_waves(variances: np.ndarray, grid: Grid, field: str, remedy: str) -> None:
    """Refuse a grid that drops more than `UNRESOLVED_LIMIT` of a random field's variance.

    Args:
        variances: the variance of each periodic mode (count, count), see `random_fields.modes`.
        grid: the grid.
        field: the name of the field in the message.
        remedy: the options that change the variances, for the message.

    Raises:
        UserError: more is dropped; the message names the share and a resolution that suffices.
    """
    waves = [half_waves("periodic", count) // 2 for count in variances.shape]
    total = float(np.sum(variances))

    def dropped(cells: list[int]) -> float:
        keeps = np.ix_(*(wave <= largest_kept(count) for wave, count in zip(waves, cells, strict=True)))
        return 1 - float(np.sum(variances[keeps])) / total

    share = dropped(list(grid.resolution))
    if share <= UNRESOLVED_LIMIT:
        return
    enough = _finer(grid, lambda cells: dropped(cells) <= UNRESOLVED_LIMIT)
    raise UserError(
        f"{field}: {100 * share:.3g} % of its variance is in waves too short for "
        f"resolution={list(grid.resolution)}. At most {100 * UNRESOLVED_LIMIT:g} % is allowed. Use "
        f"solver.resolution={_typed(enough)} or finer, or {remedy}"
    )


def _largest_wave_number(grid: Grid, cells: list[int]) -> float:
    """Return the largest wave number (rad/m) that is kept in every direction."""
    return min(
        2 * math.pi / length * largest_kept(count) for length, count in zip(grid.extent, cells, strict=True)
    )


def _finer(grid: Grid, suffices: Callable[[list[int]], bool]) -> list[int]:
    """Return the coarsest even grid in the proportions of `grid` that suffices, to within 2 %."""
    first = grid.resolution[0]
    while True:
        cells = [2 * math.ceil(count * first / grid.resolution[0] / 2) for count in grid.resolution]
        if suffices(cells):
            return cells
        first += 2 * max(first // 100, 1)


def _typed(cells: list[int]) -> str:
    """Return a list as a user types it on the command line: without blanks."""
    return f"[{','.join(map(str, cells))}]"
