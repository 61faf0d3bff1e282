"""Heat to T = 0.1 s at 255^2: time against error for every scheme, and where the solver's own choice stands.

The error is that in time alone: the root mean square of the difference from a reference on the same grid,
over the standard deviation of the reference. That of constant k is the exact propagator; that of the shipped
log-normal k are alternating directions at a tolerance of 1e-11, which super-time-stepping has to approach.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.measuring import keep, medians
from solvers.heat import Heat
from tests.support.heat_cases import heat, sampled

CELLS = 255
DURATION = 0.1
#: Two times that differ by less are the same: the machine is shared.
NOISE = 0.1


def main() -> None:
    """Prints and keeps the times and errors of all."""
    rows = [row for kind in ("constant", "lognormal") for row in _compare(kind)]
    claim = f"Heat at {CELLS}^2 to T = {DURATION} s: time against error in time, one core"
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
    parameters = sampled(automatic)
    start = automatic.initial_state(parameters)

    def end(solver: Heat) -> np.ndarray:
        return solver.advance(start, parameters, 0.0, DURATION)

    expected = end(reference)
    errors = {
        name: float(np.sqrt(np.mean((end(solver) - expected) ** 2)) / np.std(expected))
        for name, solver in solvers.items()
    }
    if errors["rkl2, tolerance 1e-07"] > 1e-5:
        raise SystemExit(f"{kind}: rkl2 does not approach the reference: nothing is compared")
    seconds = medians({name: lambda solver=solver: end(solver) for name, solver in solvers.items()}, rounds=3)
    same = np.array_equal
    chosen = next(name for name, solver in solvers.items() if same(end(solver), end(automatic)))
    return [
        {
            "k": kind,
            "scheme": name,
            "milliseconds": 1e3 * seconds[name],
            "error": errors[name],
            "on the front": "yes" if _on_front(name, seconds, errors) else "no",
            "automatic": "chosen" if name == chosen else "",
        }
        for name in sorted(solvers, key=lambda name: errors[name])
    ]


def _on_front(name: str, seconds: dict[str, float], errors: dict[str, float]) -> bool:
    """Whether none is as accurate and faster."""
    return not any(
        errors[other] <= errors[name] and seconds[other] < (1 - NOISE) * seconds[name] for other in seconds
    )


def _solver(kind: str, **options: Any) -> Heat:
    return heat(resolution=CELLS, diffusivity={"kind": kind}, **options)


if __name__ == "__main__":
    main()
