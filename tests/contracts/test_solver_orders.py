"""Orders of every solver: the observed orders in time and in space equal the declared orders.

The errors at several step sizes or resolutions are differences from a finer reference. The order is the
fitted slope of their logarithms. A solver outside the tables is tested with its shipped options.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from solvers.contract import Parameters, Solver, SteppedTrajectory, solver_class, solver_names
from solvers.contract_checks.orders import order_mistake
from tests.support.solver_cases import build_shipped

SMOOTH_FIELD = {"kind": "random_field", "modes": 3, "correlation_length": 0.5}
BAR = {"extent": [1.0], "boundary": {"x": "periodic"}}
BOX = {
    "boundary": {"x": "dirichlet", "y": "neumann"},
    "boundary_values": {"x": [1.0, 2.0], "y": [0.5, 0.0]},
    "initial": SMOOTH_FIELD,
}
CONSTANT_DIFFUSIVITY = {"kind": "constant"}
LOGNORMAL_DIFFUSIVITY = {"modes": 3, "correlation_length": 0.5}
FLOW = {
    "viscosity": [2e-2, 2e-2],
    "initial": {"kind": "random_field", "amplitude": [5.0, 5.0], "modes": 4, "correlation_length": 0.4},
}


@dataclass(frozen=True)
class Refinement:
    """Options of a solver, and values of one option from coarse to fine.

    The last value is the reference. The duration is in units of the solver's time scale.
    """

    solver: str
    option: str
    values: tuple[Any, ...]
    changes: dict[str, Any] = field(default_factory=dict)
    duration: float = 0.5

    def __str__(self) -> str:
        scheme_names = [self.changes.get(key, "") for key in ("scheme", "integrator")]
        return " ".join([self.solver, self.option, *filter(None, scheme_names)])


def step_refinement(solver: str, counts: tuple[int, ...], **changes: Any) -> Refinement:
    """Return a refinement of `time_step` that divides the duration into these numbers of steps."""
    return Refinement(solver, "time_step", counts, changes)


TIME_REFINEMENTS = [
    step_refinement(
        "heat",
        (8, 16, 32, 512),
        **BAR,
        resolution=8,
        scheme="euler",
        initial=SMOOTH_FIELD,
        diffusivity=CONSTANT_DIFFUSIVITY,
    ),
    # With longer steps the number of stages and the error constant differ from step to step.
    step_refinement(
        "heat", (32, 64, 128, 2048), **BOX, resolution=12, scheme="rkl2", diffusivity=LOGNORMAL_DIFFUSIVITY
    ),
    step_refinement(
        "heat", (16, 32, 64, 1024), **BOX, resolution=12, scheme="adi", diffusivity=LOGNORMAL_DIFFUSIVITY
    ),
    step_refinement("heat", (1, 2, 4, 8), **BOX, resolution=12, diffusivity=CONSTANT_DIFFUSIVITY),
    step_refinement("navier_stokes", (8, 16, 32, 256), **FLOW, resolution=32),
    step_refinement("nbody", (100, 200, 400, 6400), integrator="leapfrog", energy_tolerance=1.0),
    step_refinement("nbody", (100, 200, 400, 3200), integrator="yoshida4", energy_tolerance=1.0),
    Refinement(
        "nbody",
        "accuracy",
        (4e-3, 1e-3, 2.5e-4, 2.5e-6),
        {"system": {"kind": "two_body", "total_mass": 1.0, "eccentricity": [0.3, 0.3]}},
        duration=3.0,
    ),
]
SPACE_REFINEMENTS = [
    Refinement(
        "heat",
        "resolution",
        (12, 36, 108, 324),
        {**BAR, "initial": SMOOTH_FIELD, "diffusivity": CONSTANT_DIFFUSIVITY},
    ),
    Refinement("heat", "resolution", (12, 36, 108), {**BOX, "diffusivity": CONSTANT_DIFFUSIVITY}),
    Refinement(
        "heat",
        "resolution",
        (12, 36, 108, 324),
        {
            "extent": [1.0],
            "boundary": {"x": "dirichlet"},
            "boundary_values": {"x": [1.0, 2.0]},
            "initial": SMOOTH_FIELD,
            "diffusivity": LOGNORMAL_DIFFUSIVITY,
            "scheme": "rkl2",
            "tolerance": 1e-10,
        },
    ),
    Refinement("navier_stokes", "resolution", (16, 48, 144), {**FLOW, "time_step": 5e-3}),
]


def default_refinements(table: list[Refinement], option: str, values: tuple[int, ...]) -> list[Refinement]:
    """Return refinements of the solvers outside the table that have the option."""
    table_names = {refinement.solver for refinement in table}
    names = [name for name in solver_names() if name not in table_names]
    return [
        Refinement(name, option, values)
        for name in names
        if option in inspect.signature(solver_class(name)).parameters
    ]


def solve(solver: Solver, parameters: Parameters, duration: float) -> tuple[np.ndarray, dict[str, int]]:
    """Return the state after `duration` (s), and the counts."""
    trajectory = solver.prepare(parameters)
    if isinstance(trajectory, SteppedTrajectory):
        state = trajectory.advance(trajectory.initial_state, 0.0, duration)
    else:
        *_, state = trajectory.solve(np.array([0.0, duration]))
    return state, dict(trajectory.counts)


def check_order(sizes: list[float], errors: list[float], order: float, scale: float) -> None:
    """Check that the errors fall with this order in the step size or cell width."""
    assert order_mistake(sizes, errors, order, scale) is None


@pytest.mark.parametrize(
    "refinement",
    TIME_REFINEMENTS + default_refinements(TIME_REFINEMENTS, "time_step", (16, 32, 64, 1024)),
    ids=str,
)
def test_the_observed_order_in_time_is_the_declared_order(refinement: Refinement) -> None:
    base_solver = build_shipped(refinement.solver, **refinement.changes | required_time_step(refinement))
    parameters = base_solver.sample(np.random.default_rng(0))
    duration = refinement.duration * base_solver.time_scale
    states, sizes = [], []
    for value in refinement.values:
        if refinement.option != "time_step":
            solver = build_shipped(refinement.solver, **refinement.changes, **{refinement.option: value})
            state, counts = solve(solver, parameters, duration)
            sizes.append(1 / counts["steps"])
        elif math.isinf(base_solver.order_in_time):
            state = np.array(list(solve_frames(base_solver, parameters, duration, value))[-1])
            sizes.append(duration / value)
        else:
            solver = build_shipped(refinement.solver, **refinement.changes, time_step=duration / value)
            state, _ = solve(solver, parameters, duration)
            sizes.append(duration / value)
        states.append(state)
    errors = [float(np.linalg.norm(state - states[-1])) for state in states[:-1]]
    check_order(sizes[:-1], errors, base_solver.order_in_time, float(np.linalg.norm(states[-1])))


def required_time_step(refinement: Refinement) -> dict[str, Any]:
    """Return a time step for an integrator that requires one, and no options for other integrators."""
    needs_step = refinement.changes.get("integrator") in ("leapfrog", "yoshida4")
    return {"time_step": 1e-3} if needs_step else {}


def solve_frames(solver: Solver, parameters: Parameters, duration: float, frames: int) -> Any:
    return solver.prepare(parameters).solve(np.linspace(0.0, duration, frames + 1))


@pytest.mark.parametrize(
    "refinement",
    SPACE_REFINEMENTS + default_refinements(SPACE_REFINEMENTS, "resolution", (16, 48, 144)),
    ids=str,
)
def test_the_observed_order_in_space_is_the_declared_order(refinement: Refinement) -> None:
    # Each resolution is three times the previous resolution, and the grids share cell centres.
    states, widths = [], []
    coarsest_solver = build_shipped(refinement.solver, **refinement.changes, resolution=refinement.values[0])
    parameters = coarsest_solver.sample(np.random.default_rng(0))
    for value in refinement.values:
        solver = build_shipped(refinement.solver, **refinement.changes, resolution=value)
        state, _ = solve(solver, parameters, refinement.duration * coarsest_solver.time_scale)
        stride = value // refinement.values[0]
        centres = tuple(slice(stride // 2, None, stride) for _ in solver.spec.axes)
        states.append(state[:, *centres])
        widths.append(1 / value)
    errors = [float(np.linalg.norm(state - states[-1])) for state in states[:-1]]
    check_order(widths[:-1], errors, coarsest_solver.order_in_space, float(np.linalg.norm(states[-1])))


def test_particles_have_no_cells_to_refine() -> None:
    for name in solver_names():
        solver = build_shipped(name)
        assert solver.order_in_space == math.inf or not solver.spec.has_particles
