"""Trajectories that several ranks share: the cases of `solve_on_ranks`, by solver.

The division of the sites among 2, 3 and 4 ranks is uneven.
"""

from __future__ import annotations

from typing import Any

from tests.support.navier_stokes_cases import LIVELY_FLOW, NO_FORCING, TRACER

Changes = dict[str, Any]

GRIDS: dict[str, tuple[list[float], list[int]]] = {
    "1d": ([1.0], [13]),
    "2d": ([1.0, 0.8], [11, 7]),
    "deep": ([6.0, 0.8], [53, 7]),  # slabs of more rows than a deep halo
    "columns": ([1.0, 0.8], [7, 3]),  # one of four ranks has no column of coefficients
    "3d": ([1.0, 0.8, 1.2], [9, 6, 5]),
}
CONDITIONS = ("periodic", "dirichlet", "neumann")
WALL_VALUES = {"x": [1.0, 2.0], "y": [0.5, 0.0], "z": [-0.5, 1.0]}
#: Heaters that switch on within the first frame.
HEATERS = {"count": 2, "width": [0.15, 0.2], "start": [0.0, 0.005]}
SCHEMES: dict[str, Changes] = {
    "exact": {"scheme": "exact", "diffusivity": {"kind": "constant"}, "heaters": HEATERS},
    "rkl2": {"scheme": "rkl2", "tolerance": 1e-4, "diffusivity": {"modes": 3}, "heaters": HEATERS},
    "inclusions": {
        "scheme": "rkl2",
        "time_step": 0.004,
        "diffusivity": {"kind": "inclusions", "inclusion_radius": [0.3, 0.4]},
        "heaters": HEATERS,
    },
    "euler": {"scheme": "euler", "diffusivity": {"modes": 3}, "heaters": HEATERS},
    "euler, constant": {"scheme": "euler", "diffusivity": {"kind": "constant"}},
}
WITHOUT_TRACER: Changes = {name: value for name, value in LIVELY_FLOW.items() if name != "tracer"}
RING_FORCING: Changes = {
    "kind": "ring",
    "injection_rate": [0.05, 0.05],
    "ring": [10.0, 30.0],
    "renewal": 0.04,
}
#: The cases cover uneven rows and columns of coefficients, FFTW and ducc0, and a rank without a column.
FLOWS: dict[str, Changes] = {
    "random field, tracer": LIVELY_FLOW | NO_FORCING,
    "ring": WITHOUT_TRACER | {"forcing": RING_FORCING},
    "ring, long axis": LIVELY_FLOW | {"forcing": RING_FORCING, "resolution": [46, 130]},
    "diagonal, declared step": LIVELY_FLOW | {"forcing": {"kind": "diagonal"}, "time_step": 0.01},
    "kolmogorov, vortices": {
        "resolution": [70, 34],
        "forcing": {"kind": "kolmogorov"},
        "initial": {"kind": "vortices", "radius": [0.06, 0.1]},
    },
    "shear layers": {"resolution": [38, 64], "initial": {"kind": "shear_layers"}} | TRACER,
    "taylor-green": {
        "resolution": [14, 8],
        "viscosity": [5e-3, 5e-3],
        "initial": {"kind": "taylor_green"},
        **NO_FORCING,
    },
    "matern": {"resolution": [34, 34]},
}
#: Few bodies are gathered once per frame and more bodies before every force. From 128 bodies per rank on,
#: the solver uses a ring.
BODIES: dict[str, Changes] = {
    "few": {"dimension": 2, "system": {"kind": "figure_eight"}},
    "gathered": {
        "dimension": 3,
        "softening": 0.05,
        "system": {"kind": "cold_collapse", "num_bodies": 61, "total_mass": 1.0, "mass_ratio": [0.5, 2.0]},
    },
    "ring": {
        "dimension": 3,
        "softening": 0.05,
        "system": {"kind": "plummer", "num_bodies": 515, "total_mass": 1.0, "mass_ratio": [0.5, 2.0]},
    },
}
INTEGRATORS: dict[str, Changes] = {
    "hermite4": {"integrator": "hermite4"},
    "leapfrog": {"integrator": "leapfrog", "time_step": 4e-3},
    "yoshida4": {"integrator": "yoshida4", "time_step": 4e-3},
}
#: Spheres of a mass so small that two passing bodies move on straight lines.
FLIGHTS: dict[str, Changes] = {
    name: {
        "dimension": 3,
        "softening": 1e-4,
        "system": {"kind": "cold_collapse", "num_bodies": count, "total_mass": 1e-3},
    }
    for name, count in (("few", 8), ("gathered", 14), ("ring", 515))
}


def heat_changes(grid: str, scheme: str, first_condition: int) -> Changes:
    """Return the changes of a box with `CONDITIONS[first_condition]` on the first axis."""
    extent, resolution = GRIDS[grid]
    directions = "xyz"[: len(extent)]
    boundary = {name: CONDITIONS[(first_condition + axis) % 3] for axis, name in enumerate(directions)}
    changes = SCHEMES[scheme] | {
        "extent": extent,
        "resolution": resolution,
        "boundary": boundary,
        "initial": {"modes": 2},
    }
    if scheme != "euler, constant":
        walls = [name for name in directions if boundary[name] != "periodic"]
        changes["boundary_values"] = {name: WALL_VALUES[name] for name in walls}
    return changes


def two_passing_bodies(num_bodies: int) -> dict[int, list[float]]:
    """Return states in which the first and the last body pass each other, far from the other bodies."""
    return {
        body: [3 + 0.1 * side, 0.001 * side, 0, -4.0 * side, 0, 0]
        for body, side in ((0, 1), (num_bodies - 1, -1))
    }


def shared_cases(solver: str) -> dict[str, Changes]:
    """Return the changes of the cases whose results must not depend on the number of ranks."""
    if solver == "heat":
        # Each scheme is combined with each boundary condition of the first axis, on one of the grids.
        return {
            f"{grid} {scheme}": heat_changes(grid, scheme, (i + j) % 3)
            for i, grid in enumerate(GRIDS)
            for j, scheme in enumerate(SCHEMES)
        }
    if solver == "nbody":
        return bodies_changes(tuple(BODIES))
    return FLOWS if solver == "navier_stokes" else {"shipped": {}}


def diverging_cases(solver: str) -> dict[str, Changes]:
    """Return the changes of the cases that start with NaN on the last rank."""
    if solver == "heat":
        box = {"extent": [1.0, 0.8], "resolution": [11, 7]}
        return {
            name: {key: value for key, value in scheme.items() if key != "heaters"} | box
            for name, scheme in SCHEMES.items()
        }
    if solver == "nbody":
        return bodies_changes(("gathered", "ring"))
    return {"tracer": LIVELY_FLOW} if solver == "navier_stokes" else {"shipped": {}}


def bodies_changes(names: tuple[str, ...]) -> dict[str, Changes]:
    """Return the changes of these systems with each integrator."""
    return {
        f"{name} {integrator}": BODIES[name] | INTEGRATORS[integrator]
        for name in names
        for integrator in INTEGRATORS
    }
