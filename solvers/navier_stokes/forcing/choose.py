"""The choice of a forcing by the option `forcing.kind`."""

from __future__ import annotations

from solvers.navier_stokes.forcing.forcing import Forcing, Unforced, UnforcedOptions
from solvers.navier_stokes.forcing.ring import RingForcing, RingOptions
from solvers.navier_stokes.forcing.steady import (
    DiagonalForcing,
    DiagonalOptions,
    KolmogorovForcing,
    KolmogorovOptions,
)
from solvers.numerics.dealiased_fourier import FourierSlabs

ForcingOptions = UnforcedOptions | KolmogorovOptions | DiagonalOptions | RingOptions


def build_forcing(options: ForcingOptions, slabs: FourierSlabs) -> Forcing:
    """Return the forcing with these options.

    Raises:
        UserError: the grid does not keep the waves of the forcing.
    """
    match options:
        case UnforcedOptions():
            return Unforced()
        case KolmogorovOptions():
            return KolmogorovForcing(slabs.grid, options)
        case DiagonalOptions():
            return DiagonalForcing(slabs.grid, options)
        case RingOptions():
            return RingForcing(slabs, options)
