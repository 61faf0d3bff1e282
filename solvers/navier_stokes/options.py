"""Types of the options of the Navier-Stokes solver."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Count = Annotated[int, Ge(1), Le(1000)]
NumModes = Annotated[int, Ge(2), Le(1024)]
Range = tuple[Positive, Positive]
RangeFromZero = tuple[NonNegative, NonNegative]
