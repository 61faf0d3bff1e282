"""Checks that a grid keeps the waves of a flow.

A grid that drops waves of the flow changes the solution by aliasing or an accumulation of variance.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from simsurrogate.errors import UserError
from solvers.numerics.dealiased_fourier import largest_kept_wave_number
from solvers.numerics.grid import Grid
from solvers.numerics.random_fields import half_waves
from solvers.numerics.resolution import UNRESOLVED_LIMIT

#: The smallest number of cells of an axis; 8 cells keep two waves.
LEAST_CELLS = 8

#: The smallest standard deviation of a Gaussian vortex, in cells; the grid then drops 1.2 % of the variance.
LEAST_VORTEX = 1.0

#: The smallest thickness of a shear layer, in cells; the grid then drops 1.6 % of the variance of sech^2.
LEAST_LAYER = 1.0


def cells_for_wave_number(wave_number: int) -> int:
    """Return the smallest even number of cells that keeps the wave number along an axis."""
    return 3 * wave_number + 2 - wave_number % 2


def check_cells(resolution: list[int]) -> None:
    """Check the number of cells of each axis.

    Raises:
        UserError: an axis has an odd number of cells, or fewer than 8.
    """
    if all(cells % 2 == 0 and cells >= LEAST_CELLS for cells in resolution):
        return
    sufficient_cells = [max(cells + cells % 2, LEAST_CELLS) for cells in resolution]
    raise UserError(
        f"solver.resolution={resolution} has an odd or too small number of cells. Each axis needs an even "
        f"number of cells, at least {LEAST_CELLS}. Type "
        f"solver.resolution={_command_line_list(sufficient_cells)}"
    )


def check_viscosity(
    grid: Grid, *, strain_rate: float, viscosity: float, hyperviscosity: float, order: int, cause: str
) -> None:
    """Check that the damping rate of the largest wave number K of a grid is at least the strain rate.

    The strain rate is at most about eta^(1/3) for the enstrophy cascade rate eta. The damping rate of wave
    number k is nu k^2 + nu_h k^(2 order). For nu alone, the damping rate exceeds the strain rate above the
    dissipation wave number eta^(1/6) / nu^(1/2) (Kraichnan 1967, doi:10.1063/1.1762301).

    Args:
        grid: the grid.
        strain_rate: the largest drawn strain rate eta^(1/3), 1/s.
        viscosity: the smallest drawn nu, m^2/s.
        hyperviscosity: the smallest drawn nu_h, m^(2 order)/s.
        order: the order of the hyperviscosity.
        cause: the option that determines the strain rate, for the message.

    Raises:
        UserError: the damping rate of K is smaller than the strain rate; the message names a sufficient
            resolution and viscosity.
    """

    def damping_rate(cells: list[int]) -> float:
        largest_wave_number = _largest_wave_number(grid, cells)
        return viscosity * largest_wave_number**2 + hyperviscosity * largest_wave_number ** (2 * order)

    grid_rate = damping_rate(list(grid.resolution))
    if grid_rate >= strain_rate or not grid.is_checked:
        return
    values = f"solver.viscosity={viscosity:g} m^2/s" + (
        f" and hyperviscosity={hyperviscosity:g} m^{2 * order}/s" if hyperviscosity else ""
    )
    if not viscosity and not hyperviscosity:
        raise UserError(
            "solver.viscosity and solver.hyperviscosity.range both have the lower end 0. At least one lower "
            "end must be positive, because no grid resolves a flow without damping. Type "
            "solver.viscosity=[LOW,HIGH] with a positive LOW"
        )
    largest_wave_number = _largest_wave_number(grid, list(grid.resolution))
    sufficient_viscosity = (
        strain_rate - hyperviscosity * largest_wave_number ** (2 * order)
    ) / largest_wave_number**2
    sufficient_cells = _sufficient_cells(grid, lambda cells: damping_rate(cells) >= strain_rate)
    raise UserError(
        f"{values} cannot be resolved by solver.resolution={list(grid.resolution)}: the largest wave number "
        f"{largest_wave_number:.4g} rad/m is damped at {grid_rate:.3g} 1/s and strained at about "
        f"{strain_rate:.3g} 1/s by {cause}. The damping rate must be at least the strain rate. Type "
        f"solver.resolution={_command_line_list(sufficient_cells)} or finer, or a "
        f"solver.viscosity of at least {sufficient_viscosity:.3g} m^2/s"
    )


def check_tracer_diffusivity(grid: Grid, *, strain_rate: float, diffusivity: float, cause: str) -> None:
    """Check that the damping rate kappa K^2 of the largest wave number K is at least the strain rate.

    The strain stretches a tracer into filaments. Diffusion balances the strain at the wave number
    (strain rate / kappa)^(1/2) of Batchelor (1959, doi:10.1017/S002211205900009X).

    Args:
        grid: the grid.
        strain_rate: the largest drawn strain rate, 1/s.
        diffusivity: the smallest drawn kappa, m^2/s.
        cause: the option that determines the strain rate, for the message.

    Raises:
        UserError: the damping rate of K is smaller than the strain rate; the message names a sufficient
            diffusivity, and a sufficient resolution if there is one.
    """
    largest_wave_number = _largest_wave_number(grid, list(grid.resolution))
    damping_rate = diffusivity * largest_wave_number**2
    if damping_rate >= strain_rate or not grid.is_checked:
        return
    remedy = (
        f"solver.tracer.diffusivity=[LOW,HIGH] with LOW at least {strain_rate / largest_wave_number**2:.3g}"
    )
    if diffusivity:
        sufficient_cells = _sufficient_cells(
            grid, lambda cells: diffusivity * _largest_wave_number(grid, cells) ** 2 >= strain_rate
        )
        remedy += f" m^2/s, or solver.resolution={_command_line_list(sufficient_cells)} or finer"
    raise UserError(
        f"solver.tracer.diffusivity={diffusivity:g} m^2/s cannot be resolved by "
        f"solver.resolution={list(grid.resolution)}: the largest wave number {largest_wave_number:.4g} rad/m "
        f"of the tracer is damped at {damping_rate:.3g} 1/s and strained at about {strain_rate:.3g} 1/s by "
        f"{cause}. The damping rate must be at least the strain rate. Type {remedy}"
    )


def check_width(width: float, least_cells: float, grid: Grid, option: str) -> None:
    """Check that the cells of a grid are narrow enough for a vortex or a layer.

    Args:
        width: the smallest standard deviation or thickness, m.
        least_cells: the number of widest cells that the width must span.
        grid: the grid.
        option: the option that holds the range of the width.

    Raises:
        UserError: the width spans fewer cells; the message names a sufficient resolution and width.
    """

    def least_width(cells: list[int]) -> float:
        return least_cells * max(length / count for length, count in zip(grid.extent, cells, strict=True))

    smallest_width = least_width(list(grid.resolution))
    if width >= smallest_width * (1 - 1e-9) or not grid.is_checked:
        return
    sufficient_cells = _sufficient_cells(grid, lambda cells: least_width(cells) <= width)
    raise UserError(
        f"the lower end {width:g} m of solver.{option} is too small for the cells of "
        f"{smallest_width / least_cells:.3g} m of solver.resolution={list(grid.resolution)}. The width must "
        f"be at least {least_cells:g} times the cell width. Type "
        f"solver.resolution={_command_line_list(sufficient_cells)} or finer, or a lower end of at least "
        f"{smallest_width:.3g} m"
    )


def check_waves(variances: np.ndarray, grid: Grid, field: str, remedy: str) -> None:
    """Check that a grid drops at most the fraction `UNRESOLVED_LIMIT` of the variance of a random field.

    Args:
        variances: the variance of each periodic mode (count, count), see `random_fields.modes`.
        grid: the grid.
        field: the name of the field for the message.
        remedy: the options that change the variances, for the message.

    Raises:
        UserError: the grid drops a larger fraction; the message names the fraction and a sufficient
            resolution.
    """
    waves = [half_waves("periodic", count) // 2 for count in variances.shape]
    total_variance = float(np.sum(variances))

    def dropped_fraction(cells: list[int]) -> float:
        kept_modes = np.ix_(
            *(wave <= largest_kept_wave_number(count) for wave, count in zip(waves, cells, strict=True))
        )
        return 1 - float(np.sum(variances[kept_modes])) / total_variance

    fraction = dropped_fraction(list(grid.resolution))
    if fraction <= UNRESOLVED_LIMIT or not grid.is_checked:
        return
    sufficient_cells = _sufficient_cells(grid, lambda cells: dropped_fraction(cells) <= UNRESOLVED_LIMIT)
    raise UserError(
        f"{field}: {100 * fraction:.3g} % of the variance is in waves too short for "
        f"solver.resolution={list(grid.resolution)}. At most {100 * UNRESOLVED_LIMIT:g} % is allowed. Type "
        f"solver.resolution={_command_line_list(sufficient_cells)} or finer, or {remedy}"
    )


def _largest_wave_number(grid: Grid, cells: list[int]) -> float:
    """Return the largest wave number (rad/m) that is kept in every direction."""
    return min(
        2 * math.pi / length * largest_kept_wave_number(count)
        for length, count in zip(grid.extent, cells, strict=True)
    )


def _sufficient_cells(grid: Grid, is_sufficient: Callable[[list[int]], bool]) -> list[int]:
    """Return the coarsest sufficient even resolution in the proportions of `grid`, to within 2 %."""
    num_rows = grid.resolution[0]
    while True:
        cells = [2 * math.ceil(count * num_rows / grid.resolution[0] / 2) for count in grid.resolution]
        if is_sufficient(cells):
            return cells
        num_rows += 2 * max(num_rows // 100, 1)


def _command_line_list(cells: list[int]) -> str:
    """Return the text of a list for the command line, without blanks."""
    return f"[{','.join(map(str, cells))}]"
