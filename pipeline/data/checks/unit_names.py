"""The check that every quantity of a data set has a unit that programs can read."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.data import units
from pipeline.data.checks.result import CheckResult
from simsurrogate.spec import Spec


def result(subject: str, spec: Spec) -> CheckResult:
    """Return the result of `units`: missing and unknown units are warnings."""
    quantities = list(_quantities(spec))
    missing = [name for name, unit in quantities if not unit.strip()]
    unknown = [f"{name} ({unit})" for name, unit in quantities if unit.strip() and not units.is_known(unit)]
    numbers = {
        "quantities": float(len(quantities)),
        "missing": float(len(missing)),
        "unknown": float(len(unknown)),
    }
    parts = [
        f"{words} {', '.join(names)}"
        for words, names in (("no unit is given for", missing), ("no known unit has", unknown))
        if names
    ]
    if not parts:
        return CheckResult("units", subject, "passed", numbers=numbers)
    message = f"{'; '.join(parts)}. A unit is SI, such as K, m^2/s or 1 for none. Correct the solver's spec"
    return CheckResult("units", subject, "warning", message, numbers)


def _quantities(spec: Spec) -> Iterator[tuple[str, str]]:
    """Yield the name and the unit of everything that has a unit."""
    named = (*spec.fields, *spec.coefficient_fields, *spec.parameters, *spec.invariants, *spec.quantities)
    for quantity in named:
        yield quantity.name, quantity.unit
    for axis in spec.axes:
        yield axis.name, axis.unit
