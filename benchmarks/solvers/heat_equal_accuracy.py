"""The run time and error of every heat scheme up to 0.1 s at 255^2, and the choice of `automatic`.

The error is the root mean square difference from a reference on the same grid, divided by the standard
deviation of the reference. The error thus excludes the error in space. The reference for constant k is the
exact propagator. The reference for the shipped log-normal k is alternating directions with a tolerance of
1e-11. Super-time-stepping must converge to this reference.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.support.measuring import medians, print_and_store
from solvers.heat import Heat
from tests.support.heat_cases import final_state, heat, sample_parameters

CELLS = 255
DURATION = 0.1
#: The relative difference below which times count as equal, because other work shares the machine.
NOISE = 0.1


def main() -> None:
    """Print and store the times and errors of all schemes."""
    rows = [row for kind in ("constant", "lognormal") for row in _compare(kind)]
    claim = f"Heat at {CELLS}^2 to T = {DURATION} s: time and error in time, one core"
    print_and_store("heat_equal_accuracy", claim, rows, ["numba", "numpy"])


def _compare(kind: str) -> list[dict[str, object]]:
    tolerances = [("adi", tolerance) for tolerance in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)]
    tolerances += [("rkl2", tolerance) for tolerance in (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)]
    solvers = {
        f"{scheme}, tolerance {tolerance:g}": _solver(kind, scheme=scheme, tolerance=tolerance)
        for scheme, tolerance in tolerances
    }
    for step in (0.005, 0.001):
        solvers[f"adi, steps of {step:g} s"] = _solver(kind, scheme="adi", time_step=step)
    solvers["euler at its limit"] = _solver(kind, scheme="euler")
    automatic_solver = _solver(kind)
    if kind == "constant":
        solvers["exact"] = _solver(kind, scheme="exact")
        reference = _solver(kind, scheme="exact")
    else:
        reference = _solver(kind, scheme="adi", tolerance=1e-11)
    parameters = sample_parameters(automatic_solver)
    trajectories = {name: solver.prepare(parameters) for name, solver in solvers.items()}
    reference_state = final_state(reference.prepare(parameters), DURATION)
    final_states = {name: final_state(trajectory, DURATION) for name, trajectory in trajectories.items()}
    errors = {
        name: float(np.sqrt(np.mean((end_state - reference_state) ** 2)) / np.std(reference_state))
        for name, end_state in final_states.items()
    }
    if errors["rkl2, tolerance 1e-07"] > 1e-5:
        raise SystemExit(
            f"{kind}: the error of rkl2 with tolerance 1e-7 exceeds 1e-5; rkl2 must converge to the reference"
        )
    runs = {name: partial(final_state, trajectory, DURATION) for name, trajectory in trajectories.items()}
    seconds = medians(runs, rounds=3)
    automatic_state = final_state(automatic_solver.prepare(parameters), DURATION)
    chosen_scheme = next(
        name for name, end_state in final_states.items() if np.array_equal(end_state, automatic_state)
    )
    return [
        {
            "k": kind,
            "scheme": name,
            "milliseconds": 1e3 * seconds[name],
            "error": errors[name],
            "on the Pareto front": "yes" if _is_on_pareto_front(name, seconds, errors) else "no",
            "automatic": "chosen" if name == chosen_scheme else "",
        }
        for name in sorted(solvers, key=lambda name: errors[name])
    ]


def _is_on_pareto_front(name: str, seconds: dict[str, float], errors: dict[str, float]) -> bool:
    """Return whether no scheme is both faster and at least as accurate."""
    return not any(
        errors[peer] <= errors[name] and seconds[peer] < (1 - NOISE) * seconds[name] for peer in seconds
    )


def _solver(kind: str, **options: Any) -> Heat:
    return heat(resolution=CELLS, diffusivity={"kind": kind}, **options)


if __name__ == "__main__":
    main()
