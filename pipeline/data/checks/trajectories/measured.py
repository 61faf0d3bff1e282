"""The measures of trajectories on scales on which a wrong unit is a shift.

Shape letters: N trajectories, P scalar parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.data.checks.trajectories.row_table import RowTable, measure_names
from pipeline.data.format.layout import Header

#: The measures whose logarithms are compared: a factor is a shift.
_LOGARITHMIC = ("size", "deviation", "change", "largest")
#: The relative size of round-off in a measure. Smaller values count as zero.
_ROUND_OFF = 1e-10


@dataclass(frozen=True)
class Measure:
    """One number of each trajectory.

    Attributes:
        field: the name of the field.
        name: the name of the measure, see `row_table.MEASURES`.
        unit: the unit of the field.
        values: the measure, or its decimal logarithm if `is_logarithmic`, (N,).
        is_logarithmic: whether the values are logarithms.
        round_off: differences of the values that are round-off.
    """

    field: str
    name: str
    unit: str
    values: np.ndarray
    is_logarithmic: bool
    round_off: float

    def varies(self, rows: np.ndarray) -> bool:
        """Return whether the values of some trajectories, a mask or positions, differ."""
        return bool(np.ptp(self.values[rows]) > self.round_off)

    @property
    def words(self) -> str:
        """The measure for a message: `the change per frame of temperature`."""
        words = {
            "mean": "mean",
            "size": "root mean square",
            "deviation": "standard deviation",
            "change": "change per frame",
            "largest": "largest value",
        }
        return f"the {words[self.name]} of {self.field}"

    def text(self, value: float) -> str:
        """Return a value of the measure with its unit."""
        number = 10**value if self.is_logarithmic else value
        return f"{number:.3g}" + ("" if self.unit == "1" else f" {self.unit}")


def measures_of(header: Header, table: RowTable) -> list[Measure]:
    """Return the measures that vary between trajectories.

    A measure whose logarithm is compared and that is 0, up to round-off, in some trajectory is left out.
    """
    units = {field.name: field.unit for field in (*header.spec.fields, *header.spec.coefficient_fields)}
    sizes: dict[str, float] = {}
    measures = []
    names = measure_names(header)
    for column, (field, name) in enumerate(names):
        if name == "size":
            sizes[field] = float(table.measures[:, column].max(initial=0.0))
    for column, (field, name) in enumerate(names):
        values = table.measures[:, column]
        is_logarithmic = name in _LOGARITHMIC
        if is_logarithmic and values.min(initial=np.inf) <= _ROUND_OFF * sizes[field]:
            continue
        shown = np.log10(values) if is_logarithmic else values
        round_off = _ROUND_OFF * (1.0 if is_logarithmic else sizes[field])
        measures.append(Measure(field, name, units[field], shown, is_logarithmic, round_off))
    return [measure for measure in measures if measure.varies(np.arange(len(table.index)))]
