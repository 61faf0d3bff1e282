"""Types of the Navier-Stokes solver's options, and the check of their ranges."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt

from simsurrogate.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Count = Annotated[int, Ge(1)]
Range = tuple[Positive, Positive]
RangeFromZero = tuple[NonNegative, NonNegative]


def check_ranges(groups: Mapping[str, RangeFromZero | DataclassInstance]) -> None:
    """Refuse ranges whose lower end is above the upper end, in options by the name of their group.

    Raises:
        UserError: a range has its ends in the wrong order.
    """
    for group, options in groups.items():
        named = {group: options}
        if dataclasses.is_dataclass(options):
            fields = dataclasses.asdict(options)
            named = {f"{group}.{option}": value for option, value in fields.items()}
        for name, value in named.items():
            if isinstance(value, tuple) and value[0] > value[1]:
                raise UserError(
                    f"solver.{name}=[{value[0]:g}, {value[1]:g}] is in the wrong order. The lower end comes "
                    f"first. Use solver.{name}=[{value[1]:g},{value[0]:g}]"
                )
