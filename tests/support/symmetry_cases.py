"""Solvers with the symmetries that they declare, and trajectories from transformed states and fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from pipeline.problem import expected_problem
from pipeline.training.batches.composition import AnySymmetry, num_draws
from pipeline.training.batches.symmetries import transformed
from solvers.contract import Parameters, Solver, SteppedTrajectory, solver_names
from solvers.heat import Heat
from solvers.navier_stokes import NavierStokes
from solvers.nbody import NBody
from surrogates.contract import Batch
from tests.support.solver_cases import Changes

HEAT_1D: Changes = {"extent": [1.0], "resolution": 24}
HEAT_2D: Changes = {"resolution": 24, "scheme": "rkl2", "diffusivity": {"modes": 5}, "initial": {"modes": 5}}
FLOW: Changes = {"resolution": 32, "viscosity": [5e-3, 5e-3], "forcing": {"kind": "none"}}
SMOOTH: Changes = {"kind": "random_field", "modes": 7, "correlation_length": 0.3}
TWO_BODY: Changes = {"kind": "two_body", "total_mass": 1.0}
SPHERE: Changes = {"total_mass": 1.0, "num_bodies": 8}
SPACE: Changes = {"dimension": 3, "softening": 0.1}


def heat(**changes: Any) -> Changes:
    return HEAT_2D | changes


def flow(**changes: Any) -> Changes:
    return FLOW | changes


def walls(
    x: list[float], y: list[float], condition_x: str = "dirichlet", condition_y: str = "dirichlet"
) -> Changes:
    return {"boundary": {"x": condition_x, "y": condition_y}, "boundary_values": {"x": x, "y": y}}


SHIFTS, REFLECTIONS, EXCHANGE = "shift_x shift_y", "reflection_x reflection_y", "exchange_xy"
BOX = f"{SHIFTS} {REFLECTIONS} {EXCHANGE}"

#: The solver, the changes of its shipped options, and the names of all symmetries, by case.
CASES: dict[str, tuple[str, Changes, str]] = {
    "heat, adi": ("heat", {"resolution": 24, "tolerance": 1e-12}, f"{BOX} sign"),
    "heat, adi with declared steps": (
        "heat", {"resolution": 24, "time_step": 1e-3, "scheme": "adi"}, f"{SHIFTS} {REFLECTIONS} sign",
    ),
    "heat, 1-D": ("heat", HEAT_1D, "shift_x reflection_x sign"),
    "heat, 3-D": (
        "heat",
        {"extent": [1.0, 1.0, 1.0], "resolution": [8, 10, 8], "scheme": "rkl2",
         "diffusivity": {"modes": 3, "correlation_length": 0.4}, "initial": SMOOTH | {"modes": 3}},
        "shift_x shift_y shift_z reflection_x reflection_y reflection_z exchange_xz sign",
    ),
    "heat, 3-D cube": (
        "heat",
        {"extent": [1.0, 1.0, 1.0], "resolution": 8, "diffusivity": {"kind": "constant"},
         "initial": {"kind": "harmonics", "count": 1}},
        "reflection_x reflection_y reflection_z exchange_xy exchange_xz exchange_yz",
    ),
    "heat, heaters": ("heat", heat(heaters={"count": 2, "width": [0.15, 0.2]}), BOX),
    "heat, rectangle": ("heat", heat(extent=[1.0, 0.8]), f"{SHIFTS} {REFLECTIONS} sign"),
    "heat, rectangle of square cells": (
        "heat", heat(extent=[1.0, 0.5], resolution=[32, 16]), f"{SHIFTS} {REFLECTIONS} sign",
    ),
    "heat, inclusions and blobs": (
        "heat",
        heat(
            diffusivity={"kind": "inclusions", "inclusion_radius": [0.2, 0.3]},
            initial={"kind": "blobs", "width": [0.15, 0.2]},
        ),
        f"{BOX} sign",
    ),
    "heat, few modes": (
        "heat", heat(initial={"kind": "modes", "modes": 5}), f"{REFLECTIONS} {EXCHANGE} sign",
    ),
    "heat, one wave of k without its sine": (
        "heat", heat(diffusivity={"modes": 2}), f"{REFLECTIONS} {EXCHANGE} sign",
    ),
    "heat, equal walls": ("heat", heat(**walls([1.0, 1.0], [1.0, 1.0])), f"{REFLECTIONS} {EXCHANGE}"),
    "heat, cold walls": ("heat", heat(**walls([0.0, 0.0], [0.0, 0.0])), f"{REFLECTIONS} {EXCHANGE} sign"),
    "heat, equal fluxes": (
        "heat", heat(**walls([0.5, 0.5], [0.0, 0.0], "neumann", "neumann")), REFLECTIONS,
    ),
    "heat, one warm wall": ("heat", heat(**walls([0.0, 1.0], [0.0, 0.0])), "reflection_y"),
    "heat, two warm walls": ("heat", heat(**walls([0.0, 1.0], [0.0, 1.0])), EXCHANGE),
    "heat, walls along x": (
        "heat", heat(**walls([1.0, 1.0], [0.0, 0.0], condition_y="periodic")), f"shift_y {REFLECTIONS}",
    ),
    "heat, harmonics": (
        "heat",
        {"resolution": 24, "diffusivity": {"kind": "constant"}, "initial": {"kind": "harmonics", "count": 3}},
        f"reflection_xy {EXCHANGE}",
    ),
    "heat, harmonics between walls": (
        "heat",
        {"resolution": 24, "diffusivity": {"kind": "constant"}, "initial": {"kind": "harmonics", "count": 2},
         **walls([0.0, 0.0], [0.0, 0.0])},
        f"reflection_xy {EXCHANGE}",
    ),
    "flow, shipped": ("navier_stokes", {"resolution": 32}, f"shift_xy reflection_xy {EXCHANGE}"),
    "flow, random field": ("navier_stokes", flow(initial=SMOOTH), BOX),
    "flow, matern": ("navier_stokes", FLOW, BOX),
    "flow, vortices": ("navier_stokes", flow(initial={"kind": "vortices", "radius": [0.08, 0.1]}), BOX),
    "flow, Taylor-Green": ("navier_stokes", flow(initial={"kind": "taylor_green"}), BOX),
    "flow, Taylor-Green of phase zero": (
        "navier_stokes", flow(initial={"kind": "taylor_green", "waves": 2, "phases": "zero"}), BOX,
    ),
    "flow, shear layers": (
        "navier_stokes", flow(initial={"kind": "shear_layers", "thickness": [0.06, 0.08]}),
        f"shift_x {REFLECTIONS}",
    ),
    "flow, shear layers of phase zero": (
        "navier_stokes",
        flow(initial={"kind": "shear_layers", "thickness": [0.06, 0.08], "phases": "zero"}),
        "reflection_x",
    ),
    "flow, Kolmogorov": (
        "navier_stokes", flow(forcing={"kind": "kolmogorov"}, initial=SMOOTH), f"{SHIFTS} {REFLECTIONS}",
    ),
    "flow, ring": (
        "navier_stokes",
        flow(forcing={"kind": "ring", "injection_rate": [0.05, 0.05], "ring": [10.0, 30.0], "renewal": 0.04}),
        "",
    ),
    "flow, rectangle with tracer": (
        "navier_stokes",
        flow(extent=[1.0, 0.8], resolution=[32, 24], initial=SMOOTH,
             tracer={"present": True, "diffusivity": [5e-3, 5e-3], "modes": 6}),
        f"{SHIFTS} {REFLECTIONS} sign_tracer",
    ),
    "two bodies in the plane": ("nbody", {"system": TWO_BODY}, "rotation permutation boost"),
    "two unequal bodies": (
        "nbody", {"system": TWO_BODY | {"mass_ratio": [0.2, 0.9]}}, "rotation boost",
    ),
    "two bodies in space": (
        "nbody", {"dimension": 3, "system": TWO_BODY}, "rotation reflection permutation boost",
    ),
    "two bodies of fixed orientation": (
        "nbody", {"system": TWO_BODY | {"orientation": "fixed"}}, "",
    ),
    "three bodies": ("nbody", {"system": {"kind": "three_body"}}, ""),
    "figure-eight": ("nbody", {"system": {"kind": "figure_eight"}}, "boost"),
    "plummer": (
        "nbody", SPACE | {"system": SPHERE | {"kind": "plummer"}}, "rotation reflection permutation boost",
    ),
    "cold collapse of unequal bodies": (
        "nbody", SPACE | {"system": SPHERE | {"kind": "cold_collapse", "mass_ratio": [0.5, 2.0]}},
        "rotation reflection permutation boost",
    ),
}  # fmt: skip


def all_cases() -> dict[str, tuple[str, Changes, str | None]]:
    """Return the cases, and the shipped options of every other solver without the names of its symmetries."""
    named_solvers = {name for name, _, _ in CASES.values()}
    other_cases = {name: (name, {}, None) for name in solver_names() if name not in named_solvers}
    return CASES | other_cases


def batch_of(frames: np.ndarray, coefficient_fields: np.ndarray | None, times: np.ndarray) -> Batch:
    """Return a batch in float64 of one window with the frames (T, C, *sites) at the times (T,), s."""
    fields = np.empty((0, *frames.shape[2:])) if coefficient_fields is None else coefficient_fields
    return {
        "state": torch.from_numpy(frames)[None],
        "coefficient_fields": torch.from_numpy(fields)[None],
        "parameters": torch.empty(1, 0),
        "time": torch.from_numpy(times)[None],
    }


def random_draws(
    solver: Solver, symmetries: tuple[AnySymmetry, ...], rng: np.random.Generator
) -> Mapping[AnySymmetry, np.ndarray]:
    """Return random numbers for one window that choose no identity: the upper half, in descending order."""
    return {
        symmetry: -np.sort(-rng.uniform(0.55, 0.95, (1, num_draws(symmetry, solver.spec))))
        for symmetry in symmetries
    }


def transformed_window(
    solver: Solver, batch: Batch, draws: Mapping[AnySymmetry, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the frames (T, C, *sites) and the coefficient fields of a window after the operations."""
    problem = expected_problem(solver.spec, np.array([0.0, 1.0]))
    result = transformed(batch, problem, draws)
    return result["state"][0].numpy(), result["coefficient_fields"][0].numpy()


@contextmanager
def trajectory_with(
    solver: Solver, parameters: Parameters, coefficient_fields: np.ndarray
) -> Iterator[SteppedTrajectory]:
    """Yield the trajectory with other coefficient fields than the drawn ones."""
    fields = dict(zip(solver.spec.coefficient_channels, coefficient_fields, strict=True))
    with ExitStack() as stack:
        if isinstance(solver, NBody):
            stack.enter_context(patch.object(solver._system, "masses", return_value=fields["mass"]))
        elif isinstance(solver, NavierStokes):
            stack.enter_context(patch.object(solver._forcing, "field", return_value=fields.get("forcing")))
        elif isinstance(solver, Heat):
            if (k := fields.pop("diffusivity", None)) is not None:
                stack.enter_context(patch.object(solver._diffusivity, "field", return_value=k))
            patterns = list(fields.values())
            stack.enter_context(patch.object(solver._heaters, "patterns", return_value=patterns))
        elif fields:
            pytest.skip("the coefficient fields of this solver cannot be replaced")
        trajectory = solver.prepare(parameters)
        assert isinstance(trajectory, SteppedTrajectory)
        yield trajectory
