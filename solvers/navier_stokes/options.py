"""The options of the Navier-Stokes solver, as they stand in its YAML."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt

from simsurrogate.errors import UserError

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Count = Annotated[int, Ge(1)]
Range = tuple[Positive, Positive]
RangeFromZero = tuple[NonNegative, NonNegative]


def check_ranges(**groups: Any) -> None:
    """Refuses a range whose ends are in the wrong order.

    Raises:
        UserError: it names the option.
    """
    for group, options in groups.items():
        named = {"": options} if isinstance(options, tuple) else dataclasses.asdict(options)
        for option, value in named.items():
            if isinstance(value, tuple) and value[0] > value[1]:
                name = f"{group}.{option}" if option else group
                raise UserError(f"{name}=[{value[0]:g}, {value[1]:g}]: the lower end comes first")


@dataclass(frozen=True)
class HyperviscosityOptions:
    """nu_h (-Lap)^order on the right side: the `order`, and the `range` of nu_h, m^(2 order)/s."""

    order: Annotated[int, Ge(2)]
    range: RangeFromZero


@dataclass(frozen=True)
class ForcingOptions:
    """f on the right side of the vorticity equation.

    kolmogorov: amplitude sin(wave_number 2 pi y / L_y); diagonal: amplitude (sin + cos)(2 pi (x / L_x +
    y / L_y)); both with the range of `amplitude` (s^-2). ring: random waves with wave numbers in `ring`
    (rad/m), drawn anew each `renewal` (s), that inject energy at a rate drawn from `injection_rate`
    (m^2/s^3).
    """

    kind: Literal["none", "kolmogorov", "diagonal", "ring"]
    amplitude: Range
    wave_number: Count
    injection_rate: Range
    ring: Range
    renewal: Positive


@dataclass(frozen=True)
class InitialOptions:
    """w(x, 0): the range of its `amplitude` (s^-1), and what shapes the field.

    random_field: amplitude is the expected root mean square; `correlation_length` (m), `spectral_exponent`
    and `modes` (an axis). matern: the law N(0, 7^1.5 (-Lap + 49)^-2.5), `modes` an axis. taylor_green:
    amplitude is the peak; `waves` an axis, `phases` drawn or zero. shear_layers: amplitude is the peak in two
    layers of `thickness` (m); the lowest `waves` along x ripple them with `perturbation` times their speed.
    vortices: `count` Gaussians of `radius` (m) with peaks between - and + amplitude.
    """

    kind: Literal["random_field", "matern", "taylor_green", "shear_layers", "vortices"]
    amplitude: Range
    correlation_length: Positive
    spectral_exponent: NonNegative
    modes: Annotated[int, Ge(2)]
    waves: Count
    phases: Literal["random", "zero"]
    thickness: Range
    perturbation: Positive
    count: Count
    radius: Range


@dataclass(frozen=True)
class TracerOptions:
    """A passive scalar s: the range of its `diffusivity` (m^2/s), and s(x, 0), a random field of root mean
    square one with `correlation_length` (m), `spectral_exponent` and `modes` (an axis).
    """

    present: bool
    diffusivity: RangeFromZero
    correlation_length: Positive
    spectral_exponent: NonNegative
    modes: Annotated[int, Ge(2)]
