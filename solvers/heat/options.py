"""Types of the options of the heat solver, the boundary options, and those of the initial temperature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le

from simsurrogate.spec import DIRECTIONS

Condition = Literal["periodic", "dirichlet", "neumann"]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Count = Annotated[int, Ge(1), Le(1000)]
NumModes = Annotated[int, Ge(2), Le(1024)]
Range = tuple[Positive, Positive]
WallValues = tuple[float, float]


@dataclass(frozen=True)
class BoundaryOptions:
    """The boundary condition at both ends of each axis; axes beyond the dimension have no effect."""

    x: Condition
    y: Condition = "periodic"
    z: Condition = "periodic"


@dataclass(frozen=True)
class BoundaryValuesOptions:
    """The values at the lower and the upper wall of each axis that is not periodic.

    The value of a dirichlet wall is a temperature (K). The value of a neumann wall is the heat flux k du/dn
    into the box (K m/s).
    """

    x: WallValues = (0.0, 0.0)
    y: WallValues = (0.0, 0.0)
    z: WallValues = (0.0, 0.0)


@dataclass(frozen=True)
class RandomFieldOptions:
    """A Gaussian random field; `amplitude` (K) is its expected root mean square.

    Modes shorter than `correlation_length` (m) decay with the exponent `spectral_exponent`. `modes` is the
    number of modes along each axis.
    """

    kind: Literal["random_field"]
    amplitude: Range
    correlation_length: Positive
    spectral_exponent: NonNegative
    modes: NumModes


@dataclass(frozen=True)
class FewModesOptions:
    """A sum of `count` products of the lowest `modes` of each axis, with root mean square `amplitude` (K)."""

    kind: Literal["modes"]
    amplitude: Range
    modes: NumModes
    count: Count


@dataclass(frozen=True)
class BlobsOptions:
    """A sum of `count` Gaussians of standard deviation `width` (m); `amplitude` (K) is the largest peak."""

    kind: Literal["blobs"]
    amplitude: Range
    count: Count
    width: Range


@dataclass(frozen=True)
class HarmonicsOptions:
    """The `count` lowest harmonics of the box; `amplitude` (K) is the peak of each harmonic."""

    kind: Literal["harmonics"]
    amplitude: Range
    count: Count


@dataclass(frozen=True)
class ZeroOptions:
    """The temperature 0 K, to which the solver adds the linear profile between dirichlet walls."""

    kind: Literal["zero"]


InitialOptions = RandomFieldOptions | FewModesOptions | BlobsOptions | HarmonicsOptions | ZeroOptions


def unused_options(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the options of the heat solver without effect, see `Solver.unused_options`.

    Options of axes beyond the dimension, values of periodic axes, ranges of missing heaters, and the
    tolerance of schemes without error control have no effect.
    """
    num_axes = len(options["extent"])
    lengths = f"{('one length', 'two lengths', 'three lengths')[num_axes - 1]} in solver.extent"
    for index, name in enumerate(DIRECTIONS):
        if index >= num_axes:
            yield f"boundary.{name}", lengths
            yield f"boundary_values.{name}", lengths
        elif options["boundary"][name] == "periodic":
            yield f"boundary_values.{name}", f"solver.boundary.{name}=periodic"
    if options["heaters"]["count"] == 0:
        yield from (
            (f"heaters.{name}", "solver.heaters.count=0") for name in options["heaters"] if name != "count"
        )
    if options["scheme"] in ("exact", "euler"):
        yield "tolerance", f"solver.scheme={options['scheme']}"
    elif options["scheme"] == "automatic" and options["diffusivity"]["kind"] == "constant":
        yield "tolerance", "solver.scheme=automatic and solver.diffusivity.kind=constant"
    elif options["time_step"] is not None:
        yield "tolerance", f"solver.time_step={options['time_step']}"
