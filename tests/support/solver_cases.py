"""Solvers from their shipped YAML, with small variants that cover their options."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mpi4py import MPI

import configs
from pipeline.config.build import build_solver
from solvers.contract import Solver, solver_names
from tests.support.navier_stokes_cases import LIVELY_FLOW

Changes = dict[str, Any]

WALLS: Changes = {
    "boundary": {"x": "dirichlet", "y": "neumann"},
    "boundary_values": {"x": [1.0, 2.0], "y": [0.5, 0.0]},
}
SMOOTH_FIELD: Changes = {"kind": "random_field", "modes": 4, "correlation_length": 0.4}
SPHERE: Changes = {"total_mass": 1.0, "num_bodies": 20}

LINE = str(Path(__file__).parent / "programs" / "line.py")

#: Options without which the shipped YAML describes no solver.
REQUIRED: dict[str, Changes] = {
    "executable": {
        "problem": "line",
        "equation": "u_t = -rate u",
        "axes": {"x": {"size": 12}},
        "fields": {"density": {"unit": "kg/m"}},
        "parameters": {
            "amplitude": {"unit": "kg/m", "range": [0.5, 1.5]},
            "rate": {"unit": "s^-1", "range": [1.0, 2.0]},
        },
        "program": {"command": [sys.executable, "-I", "-S", LINE, "input.json"], "time_limit": 60.0},
        "output": {"kind": "text"},
    }
}

#: Options of steps that do not depend on the solution, for solvers whose error control chooses the steps.
DECLARED_STEPS: dict[str, Changes] = {"heat": {"scheme": "rkl2", "time_step": 2e-3}}

#: Changes of the shipped options, by solver. The shipped options themselves are tested for every solver.
VARIANTS: dict[str, dict[str, Changes]] = {
    "executable": {
        "random seed, coefficient field": {
            "random_seed": True,
            "coefficient_fields": {"material": {"unit": "1"}},
        },
    },
    "heat": {
        "walls and heaters": {
            **WALLS,
            "resolution": [24, 20],
            "heaters": {"count": 2, "width": [0.15, 0.2]},
            "diffusivity": {"modes": 3},
            "initial": SMOOTH_FIELD,
            "scheme": "rkl2",
        },
        "constant diffusivity in 1-D": {
            "extent": [1.0],
            "resolution": 40,
            "boundary": {"x": "neumann"},
            "diffusivity": {"kind": "constant"},
            "initial": {"kind": "harmonics", "count": 3},
        },
        "layers and blocks": {
            "extent": [1.0, 2.0, 0.5],
            "resolution": [8, 16, 20],
            "boundary": {"x": "neumann", "y": "periodic", "z": "dirichlet"},
            "diffusivity": {
                "kind": "layers",
                "thicknesses": [0.2, 0.05, 0.25],
                "ranges": [[0.1, 0.2], [0.01, 0.05], [0.2, 0.3]],
            },
            "blocks": [
                {"lower": [0.1, 0.2, 0.3], "upper": [0.6, 0.9, 0.42], "power": [0.1, 2.0]},
                {"lower": [0.5, 1.2, 0.3], "upper": [0.9, 1.9, 0.5], "power": [0.1, 2.0]},
            ],
            "initial": {"kind": "zero"},
        },
        "inclusions": {
            "resolution": 24,
            "diffusivity": {"kind": "inclusions", "inclusion_radius": [0.2, 0.3]},
            "initial": SMOOTH_FIELD,
        },
    },
    "navier_stokes": {
        "all linear terms, tracer": LIVELY_FLOW,
        "kolmogorov": {
            "resolution": 32,
            "viscosity": [5e-3, 5e-3],
            "forcing": {"kind": "kolmogorov"},
            "initial": {"kind": "taylor_green"},
        },
        "random forcing": {
            "resolution": 32,
            "viscosity": [5e-3, 5e-3],
            "forcing": {
                "kind": "ring",
                "injection_rate": [0.05, 0.05],
                "ring": [10.0, 30.0],
                "renewal": 0.04,
            },
            "initial": {"kind": "taylor_green"},
        },
    },
    "nbody": {
        "two bodies": {"system": {"kind": "two_body", "total_mass": 1.0, "mass_ratio": [0.2, 0.9]}},
        "figure-eight in space": {
            "dimension": 3,
            "system": {"kind": "figure_eight"},
            "integrator": "yoshida4",
            "time_step": 5e-3,
        },
        "cold collapse": {
            "dimension": 3,
            "softening": 0.1,
            "system": SPHERE | {"kind": "cold_collapse", "mass_ratio": [0.5, 2.0]},
        },
        "plummer": {
            "dimension": 3,
            "softening": 0.1,
            "system": SPHERE | {"kind": "plummer"},
            "integrator": "leapfrog",
            "time_step": 5e-3,
        },
    },
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A solver with changed options."""

    solver: str
    variant: str
    changes: Changes

    def build(self, communicator: MPI.Intracomm = MPI.COMM_SELF, **changes: Any) -> Solver:
        return build_shipped(self.solver, communicator, **merge_options(self.changes, changes))

    def __str__(self) -> str:
        return f"{self.solver}: {self.variant}"


def all_cases() -> list[Case]:
    """Return the shipped options and all variants of every solver."""
    return [
        Case(name, variant, changes)
        for name in solver_names()
        for variant, changes in ({"shipped": {}} | VARIANTS.get(name, {})).items()
    ]


def build_shipped(name: str, communicator: MPI.Intracomm = MPI.COMM_SELF, **changes: Any) -> Solver:
    """Return the shipped solver with `changes` merged into its options, nested options key by key."""
    text = (Path(configs.__path__[0]) / "solver" / f"{name}.yaml").read_text()
    options = merge_options(yaml.safe_load(text), REQUIRED.get(name, {}))
    return build_solver(merge_options(options, changes), communicator)


def merge_options(options: Any, changes: Any) -> Any:
    """Return `options` with `changes`, nested mappings key by key."""
    if not isinstance(changes, dict) or not isinstance(options, dict):
        return changes
    return options | {name: merge_options(options.get(name), value) for name, value in changes.items()}
