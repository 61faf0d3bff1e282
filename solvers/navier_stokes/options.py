"""Types of the options of the Navier-Stokes solver."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Count = Annotated[int, Ge(1)]
Range = tuple[Positive, Positive]
RangeFromZero = tuple[NonNegative, NonNegative]
