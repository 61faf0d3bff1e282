"""The passive tracer of a flow."""

from __future__ import annotations

from dataclasses import dataclass

from solvers.navier_stokes.initial import UnitField
from solvers.navier_stokes.options import NonNegative, NumModes, Positive, RangeFromZero
from solvers.numerics.grid import Grid


@dataclass(frozen=True)
class TracerOptions:
    """The presence of a tracer s, the range of its `diffusivity` (m^2/s), and s(x, 0).

    s(x, 0) is a random field of root mean square 1 with `correlation_length` (m), `spectral_exponent` and
    `modes` along each axis. Without a tracer only `present` has an effect.
    """

    present: bool
    diffusivity: RangeFromZero = (1e-3, 2e-3)
    correlation_length: Positive = 0.15
    spectral_exponent: NonNegative = 5.0
    modes: NumModes = 16


def initial_tracer(grid: Grid, options: TracerOptions) -> UnitField | None:
    """Return the family of initial tracers, or None without a tracer.

    Raises:
        UserError: the grid drops too much of the variance of the tracer.
    """
    if not options.present:
        return None
    return UnitField(grid, "tracer", options.modes, options.correlation_length, options.spectral_exponent)
