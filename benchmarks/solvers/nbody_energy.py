"""Energy error and time of our and rebound's n-body integrators, from one initial state, on one core.

IAS15 is rebound's reference for accuracy; its leapfrog is the same scheme as ours. (For two bodies alone
WHFast of rebound is exact: it solves Kepler's equation.) The final state of our finest setting must agree
with that of IAS15 before anything is timed.
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
from benchmarks.support.measuring import keep, medians
from pipeline.config.build import build_solver
from solvers.nbody import NBody
from solvers.nbody.trajectory import BodiesTrajectory

ROUNDS = 5
ACCURACIES = (0.02, 0.005, 1e-3, 1e-4)

#: The system, its duration (s), the tolerated difference from IAS15 relative to the largest value, and the
#: step (s) of leapfrog and yoshida4.
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
    """Print and keep the error and the time of each integrator on each system."""
    rows = [row for name in CASES for row in _compare(name, **CASES[name])]
    keep("nbody_energy", "Energy error and time from one initial state", rows, ["rebound", "numba"])


def _compare(
    name: str, solver: dict[str, Any], duration: float, agreement: float, step: float
) -> list[dict[str, object]]:
    runs = {
        "rebound IAS15": _peer(solver, duration, "ias15", None),
        f"rebound leapfrog, step {step:g} s": _peer(solver, duration, "leapfrog", step),
    }
    for accuracy in ACCURACIES:
        runs[f"hermite4, accuracy {accuracy:g}"] = _ours(solver, duration, accuracy=accuracy)
    for integrator in ("leapfrog", "yoshida4"):
        options = {"integrator": integrator, "time_step": step}
        runs[f"{integrator}, step {step:g} s"] = _ours(solver, duration, **options)
    trajectory = _trajectory(solver)
    before = trajectory.invariants(trajectory.initial_state)["energy"]
    ends = {run: end() for run, end in runs.items()}
    finest, reference = ends[f"hermite4, accuracy {ACCURACIES[-1]:g}"], ends["rebound IAS15"]
    difference = float(np.max(np.abs(finest - reference)) / np.max(np.abs(reference)))
    if not difference < agreement:
        raise SystemExit(
            f"{name}: the final states of the two codes differ by {difference}: nothing is compared"
        )
    seconds = medians(runs, ROUNDS)
    return [
        {
            "system": name,
            "integrator": run,
            "energy error": abs(trajectory.invariants(end)["energy"] / before - 1),
            "milliseconds": 1e3 * seconds[run],
            "speed relative to IAS15": seconds["rebound IAS15"] / seconds[run],
            "difference from IAS15": float(np.max(np.abs(end - reference)) / np.max(np.abs(reference))),
        }
        for run, end in ends.items()
    ]


def _ours(options: dict[str, Any], duration: float, **changes: Any) -> Callable[[], np.ndarray]:
    trajectory = _trajectory(options | changes)
    start = trajectory.initial_state
    return lambda: trajectory.advance(start, 0.0, duration)


def _peer(
    options: dict[str, Any], duration: float, integrator: str, step: float | None
) -> Callable[[], np.ndarray]:
    trajectory = _trajectory(options)
    mass, state = trajectory.masses, trajectory.initial_state
    d = len(state) // 2
    prepared = rebound.Simulation()
    prepared.softening = options.get("softening", 0.0)
    prepared.integrator = integrator
    if step:
        prepared.dt = step
    for m, position, velocity in zip(mass, state[:d].T, state[d:].T, strict=True):
        names = dict(zip("xyz", position, strict=False))
        prepared.add(
            m=m, **names, **{f"v{name}": value for name, value in zip("xyz", velocity, strict=False)}
        )

    def run() -> np.ndarray:
        simulation = prepared.copy()
        simulation.integrate(duration)
        return np.array([
            [getattr(particle, prefix + name) for particle in simulation.particles]
            for prefix in ("", "v")
            for name in "xyz"[:d]
        ])  # fmt: skip

    return run


def _trajectory(changes: dict[str, Any]) -> BodiesTrajectory:
    """Return a trajectory of the shipped solver without a bound on the energy error."""
    options = yaml.safe_load((Path(configs.__path__[0]) / "solver" / "nbody.yaml").read_text())
    system = options["system"] | changes.get("system", {})
    solver = build_solver(options | {"energy_tolerance": 1e9} | changes | {"system": system}, MPI.COMM_SELF)
    assert isinstance(solver, NBody)
    return solver.prepare(solver.sample(np.random.default_rng(0)))


if __name__ == "__main__":
    main()
