"""The options of the n-body solver, as they stand in its YAML."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt

from simsurrogate.errors import UserError

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Lt(1)]


@dataclass(frozen=True)
class SystemOptions:
    """The bodies and their initial state.

    `total_mass` (kg) is shared by all bodies in proportion to numbers drawn from `mass_ratio`; equal ends are
    equal masses. In two_body these are the mass of the second body over that of the first.

    `num_bodies`, `radius` (m) and `virial_ratio` serve the systems that `nbody_systems` names with them;
    `eccentricity` and `orientation` serve two_body and `perturbation` (a share) figure_eight. Of a fixed
    orientation the second body starts at periapsis on the x axis and moves along y; else it is random.
    """

    kind: Literal["two_body", "three_body", "figure_eight", "plummer", "cold_collapse"]
    total_mass: Positive
    mass_ratio: tuple[Positive, Positive]
    num_bodies: Annotated[int, Ge(2)]
    radius: tuple[Positive, Positive]
    eccentricity: tuple[Share, Share]
    orientation: Literal["random", "fixed"]
    perturbation: tuple[NonNegative, NonNegative]
    virial_ratio: tuple[NonNegative, NonNegative]


def check_system(options: SystemOptions, dimension: int, least_dimension: int) -> None:
    """Refuses ranges whose ends are in the wrong order, and a system that needs more dimensions.

    Raises:
        UserError: it names the option.
    """
    for option, value in dataclasses.asdict(options).items():
        if isinstance(value, tuple) and value[0] > value[1]:
            raise UserError(f"system.{option}=[{value[0]:g}, {value[1]:g}]: the lower end comes first")
    if dimension < least_dimension:
        raise UserError(
            f"dimension={dimension}: system.kind={options.kind} is a sphere; use dimension={least_dimension}"
        )
