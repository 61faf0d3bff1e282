"""Checks that the observed orders of convergence are the declared orders."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from solvers.contract import Solver
from solvers.contract_checks.solutions import sample_of, states_of

#: An observed order may differ by this number from the declared order.
ORDER_TOLERANCE = 0.2
#: An infinite order requires errors at round-off, or a slope above this number.
SPECTRAL_SLOPE = 8.0
ROUND_OFF = 1e-11
#: The numbers of steps and the resolutions from coarse to fine; the last one is the reference. Each
#: resolution is three times the previous one, and the grids share cell centres.
STEP_COUNTS = (16, 32, 64, 1024)
RESOLUTIONS = (16, 48, 144)


def in_time(with_step: Callable[[float], Solver], duration: float) -> Iterator[str]:
    """Check the order in the time step; `with_step` returns the solver with an option `time_step` (s)."""
    solvers = [with_step(duration / count) for count in STEP_COUNTS]
    states = [states_of(solver, sample_of(solver), np.array([0.0, duration]))[-1] for solver in solvers]
    sizes = [duration / count for count in STEP_COUNTS]
    yield from _mistakes("time_step", sizes, states, solvers[0].order_in_time)


def in_space(with_resolution: Callable[[int], Solver], duration: float) -> Iterator[str]:
    """Check the order in the cell width; `with_resolution` returns the solver with an option `resolution`."""
    solvers = [with_resolution(count) for count in RESOLUTIONS]
    states = []
    for solver, count in zip(solvers, RESOLUTIONS, strict=True):
        state = states_of(solver, sample_of(solvers[0]), np.array([0.0, duration]))[-1]
        stride = count // RESOLUTIONS[0]
        states.append(state[:, *(slice(stride // 2, None, stride) for _ in solver.spec.axes)])
    sizes = [1 / count for count in RESOLUTIONS]
    yield from _mistakes("resolution", sizes, states, solvers[0].order_in_space)


def _mistakes(option: str, sizes: list[float], states: Sequence[np.ndarray], order: float) -> Iterator[str]:
    *errors, scale = (
        *(float(np.linalg.norm(state - states[-1])) for state in states[:-1]),
        float(np.linalg.norm(states[-1])),
    )
    if mistake := order_mistake(sizes[:-1], errors, order, scale):
        numbers = ", ".join(f"{error / scale:.2g}" for error in errors)
        yield f"{mistake} (relative errors {numbers} with smaller and smaller steps of {option})"


def order_mistake(sizes: list[float], errors: list[float], order: float, scale: float) -> str | None:
    """Return how errors at these step sizes or cell widths contradict the declared order, or None.

    `scale` is the norm of the solution.
    """
    if math.isinf(order) and max(errors) < ROUND_OFF * scale:
        return None
    slope = observed_order(sizes, errors)
    if math.isinf(order):
        return None if slope > SPECTRAL_SLOPE else f"observed is order {slope:.2f}, declared is infinity"
    if abs(slope - order) <= ORDER_TOLERANCE:
        return None
    return f"observed is order {slope:.2f}, declared is {order:g}"


def observed_order(sizes: list[float], errors: list[float]) -> float:
    """Return the slope of the logarithms of the errors over those of the step sizes or cell widths."""
    logarithms = np.log(np.maximum(errors, np.finfo(float).tiny))
    return float(np.polyfit(np.log(sizes), logarithms, 1)[0])
