"""Types of the options of the heat solver, and the boundary options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

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
