"""The quantities of interest of the configuration, checked against the spec of the solver."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.config.parsing import validated_model
from pipeline.config.settings import QuantitySettings
from pipeline.config.solver_checks import check_names
from simsurrogate.errors import UserError
from simsurrogate.regions import region_cells
from simsurrogate.spec import QuantityOfInterest, Spec

_WORDS = {"max": "largest", "min": "smallest", "mean": "mean", "time_above": "time that the largest"}


def with_quantities(spec: Spec, quantities: Sequence[QuantitySettings]) -> Spec:
    """Return the spec with the quantities of interest of the configuration after those of the solver.

    Raises:
        UserError: an unknown channel or axis, an empty region, a name that is taken, or particles.
    """
    if not quantities:
        return spec
    if spec.has_particles:
        raise UserError(
            f"quantities={[quantity.name for quantity in quantities]} reduce fields over regions, and the "
            f"sites of {spec.name} are particles. Only grids have regions. Leave out quantities"
        )
    new_spec = dataclasses.replace(
        spec, quantities=(*spec.quantities, *(_quantity(spec, quantity) for quantity in quantities))
    )
    check_names(new_spec, "the configuration")
    return new_spec


def recorded_quantities(configuration: Mapping[str, Any]) -> list[QuantitySettings]:
    """Return the quantities in the configuration of a data set.

    Raises:
        UserError: an entry is no quantity.
    """
    return [
        validated_model(QuantitySettings, quantity, "quantities.")
        for quantity in configuration.get("quantities", ())
    ]


def _quantity(spec: Spec, settings: QuantitySettings) -> QuantityOfInterest:
    """Return a quantity with its unit and description."""
    if settings.of not in spec.channels:
        raise UserError(
            f"the quantity {settings.name} is of {settings.of!r}, which {spec.name} does not have. The "
            f"channels are {', '.join(spec.channels)}. Type of: {spec.channels[0]}"
        )
    if unknown_axes := sorted(set(settings.region) - set(spec.axis_names)):
        raise UserError(
            f"the region of the quantity {settings.name} has the unknown axis {unknown_axes[0]!r}. The "
            f"axes are {', '.join(spec.axis_names)}. Type region: {{{spec.axis_names[0]}: [LOW, HIGH]}}"
        )
    unit = spec.channel_units[spec.channels.index(settings.of)]
    region = tuple((name, lower, upper) for name, (lower, upper) in settings.region.items())
    place = "".join(f", {name} in [{lower:g}, {upper:g}] m" for name, lower, upper in region)
    is_duration = settings.reduce == "time_above"
    above = f" is above {settings.threshold:g} {unit}" if is_duration else ""
    quantity = QuantityOfInterest(
        settings.name,
        "s" if is_duration else unit,
        f"{_WORDS[settings.reduce]} {settings.of}{above}{place}",
        of=settings.of,
        reduce=settings.reduce,
        region=region,
        threshold=settings.threshold or 0.0,
    )
    for axis, cells in zip(spec.axes, region_cells(spec, quantity), strict=True):
        if not cells.any():
            lower, upper = settings.region[axis.name]
            raise UserError(
                f"the region of the quantity {settings.name} is empty: no cell centre lies in [{lower:g}, "
                f"{upper:g}] along {axis.name}. The centres reach from {axis.centres[0]:g} to "
                f"{axis.centres[-1]:g}, {axis.extent / axis.size:g} apart. Type a wider region"
            )
    return quantity
