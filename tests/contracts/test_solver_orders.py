"""Every solver converges at its declared orders in time and in space.

Errors over several steps or resolutions are compared with a finer reference; the slope of their logarithms is
fitted. A solver outside the table is tested with its shipped options, over its option `time_step`.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from solvers.contract import Parameters, Solver, SteppedTrajectory, solver_class, solver_names
from tests.support.solver_cases import build_shipped

#: An infinite order shows as an error at round-off, or as a slope above this number.
SPECTRAL_SLOPE = 8.0
ROUND_OFF = 1e-11
SMOOTH = {"kind": "random_field", "modes": 3, "correlation_length": 0.5}
BAR = {"extent": [1.0], "boundary": {"x": "periodic"}}
BOX = {
    "boundary": {"x": "dirichlet", "y": "neumann"},
    "boundary_values": {"x": [1.0, 2.0], "y": [0.5, 0.0]},
    "initial": SMOOTH,
}
CONSTANT = {"kind": "constant"}
LOGNORMAL = {"modes": 3, "correlation_length": 0.5}
FLOW = {
    "viscosity": [2e-2, 2e-2],
    "initial": {"kind": "random_field", "amplitude": [5.0, 5.0], "modes": 4, "correlation_length": 0.4},
}


@dataclass(frozen=True)
class Refinement:
    """Options of a solver, and values of one option from coarse to fine; the last value is the reference.

    The duration is in units of the solver's time scale.
    """

    solver: str
    option: str
    values: tuple[Any, ...]
    changes: dict[str, Any] = field(default_factory=dict)
    duration: float = 0.5

    def __str__(self) -> str:
        words = [self.changes.get(key, "") for key in ("scheme", "integrator")]
        return " ".join([self.solver, self.option, *filter(None, words)])


def steps(solver: str, counts: tuple[int, ...], **changes: Any) -> Refinement:
    """Return a refinement of `time_step` into these numbers of steps."""
    return Refinement(solver, "time_step", counts, changes)


IN_TIME = [
    steps(
        "heat", (8, 16, 32, 512), **BAR, resolution=8, scheme="euler", initial=SMOOTH, diffusivity=CONSTANT
    ),
    # With longer steps the number of stages differs from step to step, and with it the error constant.
    steps("heat", (32, 64, 128, 2048), **BOX, resolution=12, scheme="rkl2", diffusivity=LOGNORMAL),
    steps("heat", (16, 32, 64, 1024), **BOX, resolution=12, scheme="adi", diffusivity=LOGNORMAL),
    steps("heat", (1, 2, 4, 8), **BOX, resolution=12, diffusivity=CONSTANT),
    steps("navier_stokes", (8, 16, 32, 256), **FLOW, resolution=32),
    steps("nbody", (100, 200, 400, 6400), integrator="leapfrog", energy_tolerance=1.0),
    steps("nbody", (100, 200, 400, 3200), integrator="yoshida4", energy_tolerance=1.0),
    Refinement(
        "nbody",
        "accuracy",
        (4e-3, 1e-3, 2.5e-4, 2.5e-6),
        {"system": {"kind": "two_body", "total_mass": 1.0, "eccentricity": [0.3, 0.3]}},
        duration=3.0,
    ),
]
IN_SPACE = [
    Refinement(
        "heat",
        "resolution",
        (12, 36, 108, 324),
        {**BAR, "initial": SMOOTH, "diffusivity": CONSTANT},
    ),
    Refinement("heat", "resolution", (12, 36, 108), {**BOX, "diffusivity": CONSTANT}),
    Refinement(
        "heat",
        "resolution",
        (12, 36, 108, 324),
        {
            "extent": [1.0],
            "boundary": {"x": "dirichlet"},
            "boundary_values": {"x": [1.0, 2.0]},
            "initial": SMOOTH,
            "diffusivity": LOGNORMAL,
            "scheme": "rkl2",
            "tolerance": 1e-10,
        },
    ),
    Refinement("navier_stokes", "resolution", (16, 48, 144), {**FLOW, "time_step": 5e-3}),
]


def unlisted(table: list[Refinement], option: str, values: tuple[int, ...]) -> list[Refinement]:
    """Return refinements of the solvers outside the table that have the option."""
    listed = {refinement.solver for refinement in table}
    names = [name for name in solver_names() if name not in listed]
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


def check(sizes: list[float], errors: list[float], order: float, scale: float) -> None:
    """Check the slope of the errors over the step sizes or cell widths."""
    if math.isinf(order) and max(errors) < ROUND_OFF * scale:
        return
    slope = float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])
    if math.isinf(order):
        assert slope > SPECTRAL_SLOPE
    else:
        assert slope == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize("refinement", IN_TIME + unlisted(IN_TIME, "time_step", (16, 32, 64, 1024)), ids=str)
def test_the_observed_order_in_time_is_the_declared_order(refinement: Refinement) -> None:
    first = build_shipped(refinement.solver, **refinement.changes | first_step(refinement))
    parameters = first.sample(np.random.default_rng(0))
    duration = refinement.duration * first.time_scale
    states, sizes = [], []
    for value in refinement.values:
        if refinement.option != "time_step":
            solver = build_shipped(refinement.solver, **refinement.changes, **{refinement.option: value})
            state, counts = solve(solver, parameters, duration)
            sizes.append(1 / counts["steps"])
        elif math.isinf(first.order_in_time):
            state = np.array(list(first_frames(first, parameters, duration, value))[-1])
            sizes.append(duration / value)
        else:
            solver = build_shipped(refinement.solver, **refinement.changes, time_step=duration / value)
            state, _ = solve(solver, parameters, duration)
            sizes.append(duration / value)
        states.append(state)
    errors = [float(np.linalg.norm(state - states[-1])) for state in states[:-1]]
    check(sizes[:-1], errors, first.order_in_time, float(np.linalg.norm(states[-1])))


def first_step(refinement: Refinement) -> dict[str, Any]:
    """Return a step with which an integrator that needs one can be built, to read its declarations."""
    needs_step = refinement.changes.get("integrator") in ("leapfrog", "yoshida4")
    return {"time_step": 1e-3} if needs_step else {}


def first_frames(solver: Solver, parameters: Parameters, duration: float, frames: int) -> Any:
    return solver.prepare(parameters).solve(np.linspace(0.0, duration, frames + 1))


@pytest.mark.parametrize("refinement", IN_SPACE + unlisted(IN_SPACE, "resolution", (16, 48, 144)), ids=str)
def test_the_observed_order_in_space_is_the_declared_order(refinement: Refinement) -> None:
    """Every resolution is three times the previous resolution, so that grids share cell centres."""
    states, widths = [], []
    coarse = build_shipped(refinement.solver, **refinement.changes, resolution=refinement.values[0])
    parameters = coarse.sample(np.random.default_rng(0))
    for value in refinement.values:
        solver = build_shipped(refinement.solver, **refinement.changes, resolution=value)
        state, _ = solve(solver, parameters, refinement.duration * coarse.time_scale)
        stride = value // refinement.values[0]
        centres = tuple(slice(stride // 2, None, stride) for _ in solver.spec.axes)
        states.append(state[:, *centres])
        widths.append(1 / value)
    errors = [float(np.linalg.norm(state - states[-1])) for state in states[:-1]]
    check(widths[:-1], errors, coarse.order_in_space, float(np.linalg.norm(states[-1])))


def test_particles_have_no_cells_to_refine() -> None:
    for name in solver_names():
        solver = build_shipped(name)
        assert solver.order_in_space == math.inf or not solver.spec.has_particles
