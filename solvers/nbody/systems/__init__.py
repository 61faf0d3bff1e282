"""The systems of bodies: families of random initial states with their options."""

from __future__ import annotations

from typing import Any

from simsurrogate.errors import UserError
from solvers.nbody.systems.cold_collapse import ColdCollapse, ColdCollapseOptions
from solvers.nbody.systems.figure_eight import FigureEight, FigureEightOptions
from solvers.nbody.systems.plummer import Plummer, PlummerOptions
from solvers.nbody.systems.system import System
from solvers.nbody.systems.three_body import ThreeBody, ThreeBodyOptions
from solvers.nbody.systems.two_body import TwoBody, TwoBodyOptions
from solvers.numerics.parameter_sampling import check_ranges

__all__ = ["System", "SystemOptions", "build_system"]

SystemOptions = TwoBodyOptions | ThreeBodyOptions | FigureEightOptions | PlummerOptions | ColdCollapseOptions

_SYSTEMS: dict[str, type[System[Any]]] = {
    "two_body": TwoBody,
    "three_body": ThreeBody,
    "figure_eight": FigureEight,
    "plummer": Plummer,
    "cold_collapse": ColdCollapse,
}


def build_system(
    options: SystemOptions, gravitational_constant: float, softening: float, dimension: int
) -> System[Any]:
    """Return the system with these options; see `System` for the other arguments.

    Raises:
        UserError: a range is in the wrong order, or a sphere has two dimensions.
    """
    check_ranges(system=options)
    system_class = _SYSTEMS[options.kind]
    if dimension < system_class.least_dimension:
        raise UserError(
            f"solver.dimension={dimension} is too small for solver.system.kind={options.kind}. A sphere "
            f"needs three dimensions. Type solver.dimension={system_class.least_dimension}"
        )
    return system_class(options, gravitational_constant, softening, dimension)
