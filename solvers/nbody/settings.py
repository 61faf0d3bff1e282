"""Cheaper and more accurate settings of the N-body solver, for the comparison with a surrogate."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from solvers.contract import Setting, Solver

#: Values of `accuracy` of hermite4. The error of a frame is proportional to the square of this number.
ACCURACIES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)

#: The numbers of steps in the natural time scale, for schemes with fixed steps.
STEPS_OF_TIME_SCALE = (5, 10, 20, 40, 80, 160)

#: No cheap setting fails because of its energy error.
ANY_ENERGY_ERROR = 1e300


def cheaper_settings(
    build: Callable[..., Solver], own_setting: Setting, time_scale: float
) -> Iterator[Setting]:
    """Yield the original setting and all integrators with long steps, see `Solver.cheaper_settings`.

    Args:
        build: returns the solver for the options `integrator`, `accuracy`, `time_step`, `energy_tolerance`.
        own_setting: the original setting.
        time_scale: the natural time scale, s.
    """
    yield own_setting
    for accuracy in ACCURACIES:
        solver = build(integrator="hermite4", accuracy=accuracy, energy_tolerance=ANY_ENERGY_ERROR)
        yield Setting(solver.method, solver)
    for integrator in ("leapfrog", "yoshida4"):
        for num_steps in STEPS_OF_TIME_SCALE:
            solver = build(
                integrator=integrator, time_step=time_scale / num_steps, energy_tolerance=ANY_ENERGY_ERROR
            )
            yield Setting(solver.method, solver)


def reference_setting(build: Callable[..., Solver], accuracy: float, energy_tolerance: float) -> Setting:
    """Return hermite4 with 1000 times smaller error, see `Solver.reference_setting`."""
    solver = build(integrator="hermite4", accuracy=accuracy / 30, energy_tolerance=energy_tolerance)
    return Setting(solver.method, solver)
