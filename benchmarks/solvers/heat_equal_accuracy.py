"""Heat to T = 0.1 s at 255^2: time and error of every scheme, and the rank of the automatic choice.

The error is the error in time alone: the root mean square of the difference from a reference on the same
grid, divided by the standard deviation of the reference. The reference for constant k is the exact
propagator. The reference for the shipped log-normal k is alternating directions with a tolerance of 1e-11;
super-time-stepping has to converge to it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.support.measuring import keep, medians
from solvers.heat import Heat
from tests.support.heat_cases import final_state, heat, sample_parameters

CELLS = 255
DURATION = 0.1
#: Times with a smaller relative difference count as equal, because the machine is shared.
NOISE = 0.1


def main() -> None:
    """Print and keep the times and errors of all schemes."""
    rows = [row for kind in ("constant", "lognormal") for row in _compare(kind)]
    claim = f"Heat at {CELLS}^2 to T = {DURATION} s: time and error in time, one core"
    keep("heat_equal_accuracy", claim, rows, ["numba", "numpy"])


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
    automatic = _solver(kind)
    if kind == "constant":
        solvers["exact"] = _solver(kind, scheme="exact")
        reference = _solver(kind, scheme="exact")
    else:
        reference = _solver(kind, scheme="adi", tolerance=1e-11)
    parameters = sample_parameters(automatic)
    trajectories = {name: solver.prepare(parameters) for name, solver in solvers.items()}
    expected = final_state(reference.prepare(parameters), DURATION)
    ends = {name: final_state(trajectory, DURATION) for name, trajectory in trajectories.items()}
    errors = {
        name: float(np.sqrt(np.mean((end - expected) ** 2)) / np.std(expected)) for name, end in ends.items()
    }
    if errors["rkl2, tolerance 1e-07"] > 1e-5:
        raise SystemExit(f"{kind}: rkl2 does not converge to the reference: nothing is compared")
    runs = {name: partial(final_state, trajectory, DURATION) for name, trajectory in trajectories.items()}
    seconds = medians(runs, rounds=3)
    automatic_end = final_state(automatic.prepare(parameters), DURATION)
    chosen_scheme = next(name for name, end in ends.items() if np.array_equal(end, automatic_end))
    return [
        {
            "k": kind,
            "scheme": name,
            "milliseconds": 1e3 * seconds[name],
            "error": errors[name],
            "on the Pareto front": "yes" if _on_front(name, seconds, errors) else "no",
            "automatic": "chosen" if name == chosen_scheme else "",
        }
        for name in sorted(solvers, key=lambda name: errors[name])
    ]


def _on_front(name: str, seconds: dict[str, float], errors: dict[str, float]) -> bool:
    """Return whether no scheme is both as accurate and faster."""
    return not any(
        errors[peer] <= errors[name] and seconds[peer] < (1 - NOISE) * seconds[name] for peer in seconds
    )


def _solver(kind: str, **options: Any) -> Heat:
    return heat(resolution=CELLS, diffusivity={"kind": kind}, **options)


if __name__ == "__main__":
    main()
