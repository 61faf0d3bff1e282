"""The options of the heat solver, as they stand in its YAML."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt

from simsurrogate.errors import UserError

Kind = Literal["periodic", "dirichlet", "neumann"]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Count = Annotated[int, Ge(1)]
Range = tuple[Positive, Positive]
Values = tuple[float, float]


def check_ranges(**groups: Any) -> None:
    """Refuses a range whose ends are in the wrong order.

    Raises:
        UserError: it names the group and the option.
    """
    for group, options in groups.items():
        for option, value in dataclasses.asdict(options).items():
            if isinstance(value, tuple) and value[0] > value[1]:
                low, high = value
                raise UserError(f"{group}.{option}=[{low:g}, {high:g}]: the lower end comes first")


@dataclass(frozen=True)
class Boundary:
    """The kind of both ends of each axis; axes beyond the dimension do not count."""

    x: Kind
    y: Kind
    z: Kind


@dataclass(frozen=True)
class BoundaryValues:
    """At the lower and the upper end: dirichlet the temperature (K), neumann the heat flux into the box
    (k du/dn, K m/s).
    """

    x: Values
    y: Values
    z: Values


@dataclass(frozen=True)
class DiffusivityOptions:
    """k(x): ranges from which a number is drawn for each trajectory, and what shapes the field.

    `range` (m^2/s) holds for k (constant), its geometric mean (lognormal) or its value around the
    inclusions. `log_deviation` (standard deviation of ln k), `correlation_length` (m), `spectral_exponent`
    and `modes` (an axis) serve lognormal; `contrast` (k inside over k around), `num_inclusions` and
    `inclusion_radius` (m) serve inclusions.
    """

    kind: Literal["constant", "lognormal", "inclusions"]
    range: Range
    log_deviation: Range
    correlation_length: Positive
    spectral_exponent: NonNegative
    modes: Annotated[int, Ge(2)]
    contrast: Range
    num_inclusions: Count
    inclusion_radius: Range


@dataclass(frozen=True)
class HeaterOptions:
    """Gaussian heaters: ranges of the peak `rate` (K/s), `width` (m), `start` (s) and `duration` (s)."""

    count: Annotated[int, Ge(0)]
    rate: Range
    width: Range
    start: tuple[NonNegative, NonNegative]
    duration: Range


@dataclass(frozen=True)
class InitialOptions:
    """u(x, 0): the range of its `amplitude` (K), and what shapes the field.

    random_field: amplitude is the expected root mean square; `correlation_length` (m), `spectral_exponent`
    and `modes` (an axis). blobs: `count` Gaussians with peaks between - and + amplitude; `width` (m).
    modes: `count` products of the lowest `modes` of each axis, amplitude the root mean square of their sum.
    harmonics: the `count` lowest harmonics of the box, each with an amplitude of its own, its peak.
    """

    kind: Literal["random_field", "blobs", "modes", "harmonics"]
    amplitude: Range
    correlation_length: Positive
    spectral_exponent: NonNegative
    modes: Annotated[int, Ge(2)]
    count: Count
    width: Range
