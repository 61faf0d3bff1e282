"""The energy error and run time of our n-body integrators and those of rebound, on one core.

All integrators start from the same initial state. IAS15 is the most accurate integrator of rebound. The
leapfrog of rebound is the same scheme as our leapfrog. (WHFast of rebound is exact for two bodies, because
WHFast solves Kepler's equation.) Before the timing, the final state of our finest setting must agree with
that of IAS15.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rebound
import yaml
from mpi4py import MPI

import configs
from benchmarks.support.measuring import medians, print_and_store
from pipeline.config.build import build_solver
from solvers.nbody import NBody
from solvers.nbody.trajectory import BodiesTrajectory

ROUNDS = 5
ACCURACIES = (0.02, 0.005, 1e-3, 1e-4)

#: The solver options, the duration (s), the allowed difference from IAS15 relative to the largest value, and
#: the step (s) of leapfrog and yoshida4, for each system.
CASES: dict[str, dict[str, Any]] = {
    "two bodies, eccentricity 0.9, 10 orbits": {
        "solver": {"system": {"kind": "two_body", "total_mass": 1.0, "eccentricity": [0.9, 0.9]}},
        "duration": 20 * np.pi,
        "agreement": 1e-4,
        "step": 2e-3,
    },
    "figure-eight, 10 periods": {
        "solver": {"system": {"kind": "figure_eight", "perturbation": [0.0, 0.0]}},
        "duration": 63.2591398,
        "agreement": 1e-6,
        "step": 2e-3,
    },
    "three bodies from rest, 3.9 s": {
        "solver": {"system": {"kind": "three_body"}},
        "duration": 3.9,
        "agreement": 1e-4,
        "step": 2e-4,
    },
    "Plummer, 512 bodies, softening 0.01": {
        "solver": {
            "dimension": 3,
            "softening": 0.01,
            "system": {"kind": "plummer", "total_mass": 1.0, "num_bodies": 512},
        },
        "duration": 0.25,
        "agreement": 1e-6,
        "step": 1e-3,
    },
}


def main() -> None:
    """Print and store the error and the time of each integrator on each system."""
    rows = [row for name in CASES for row in _compare(name, **CASES[name])]
    print_and_store(
        "nbody_energy", "Energy error and time from one initial state", rows, ["rebound", "numba"]
    )


def _compare(
    name: str, solver: dict[str, Any], duration: float, agreement: float, step: float
) -> list[dict[str, object]]:
    runs = {
        "rebound IAS15": _build_peer_run(solver, duration, "ias15", None),
        f"rebound leapfrog, step {step:g} s": _build_peer_run(solver, duration, "leapfrog", step),
    }
    for accuracy in ACCURACIES:
        runs[f"hermite4, accuracy {accuracy:g}"] = _build_our_run(solver, duration, accuracy=accuracy)
    for integrator in ("leapfrog", "yoshida4"):
        options = {"integrator": integrator, "time_step": step}
        runs[f"{integrator}, step {step:g} s"] = _build_our_run(solver, duration, **options)
    trajectory = _trajectory(solver)
    initial_energy = trajectory.invariants(trajectory.initial_state)["energy"]
    final_states = {run: end() for run, end in runs.items()}
    finest_state, reference_state = (
        final_states[f"hermite4, accuracy {ACCURACIES[-1]:g}"],
        final_states["rebound IAS15"],
    )
    difference = float(np.max(np.abs(finest_state - reference_state)) / np.max(np.abs(reference_state)))
    if not difference < agreement:
        raise SystemExit(
            f"{name}: the final states of the two codes differ by {difference}; at most {agreement} is "
            "allowed"
        )
    seconds = medians(runs, ROUNDS)
    return [
        {
            "system": name,
            "integrator": run,
            "energy error": abs(trajectory.invariants(end)["energy"] / initial_energy - 1),
            "milliseconds": 1e3 * seconds[run],
            "speed relative to IAS15": seconds["rebound IAS15"] / seconds[run],
            "difference from IAS15": float(
                np.max(np.abs(end - reference_state)) / np.max(np.abs(reference_state))
            ),
        }
        for run, end in final_states.items()
    ]


def _build_our_run(options: dict[str, Any], duration: float, **overrides: Any) -> Callable[[], np.ndarray]:
    trajectory = _trajectory(options | overrides)
    start = trajectory.initial_state
    return lambda: trajectory.advance(start, 0.0, duration)


def _build_peer_run(
    options: dict[str, Any], duration: float, integrator: str, step: float | None
) -> Callable[[], np.ndarray]:
    trajectory = _trajectory(options)
    mass, state = trajectory.masses, trajectory.initial_state
    d = len(state) // 2
    initial_simulation = rebound.Simulation()
    initial_simulation.softening = options.get("softening", 0.0)
    initial_simulation.integrator = integrator
    if step:
        initial_simulation.dt = step
    for body_mass, position, velocity in zip(mass, state[:d].T, state[d:].T, strict=True):
        names = dict(zip("xyz", position, strict=False))
        initial_simulation.add(
            m=body_mass, **names, **{f"v{name}": value for name, value in zip("xyz", velocity, strict=False)}
        )

    def run() -> np.ndarray:
        simulation = initial_simulation.copy()
        simulation.integrate(duration)
        return np.array([
            [getattr(particle, prefix + name) for particle in simulation.particles]
            for prefix in ("", "v")
            for name in "xyz"[:d]
        ])  # fmt: skip

    return run


def _trajectory(overrides: dict[str, Any]) -> BodiesTrajectory:
    """Return a trajectory of the shipped solver without a bound on the energy error."""
    options = yaml.safe_load((Path(configs.__path__[0]) / "solver" / "nbody.yaml").read_text())
    system = options["system"] | overrides.get("system", {})
    solver = build_solver(options | {"energy_tolerance": 1e9} | overrides | {"system": system}, MPI.COMM_SELF)
    assert isinstance(solver, NBody)
    return solver.prepare(solver.sample(np.random.default_rng(0)))


if __name__ == "__main__":
    main()
