"""The integrators of the n-body problem; `gravity` describes the arrays.

hermite: scheme of fourth order with accelerations and jerks (Makino & Aarseth 1992, PASJ 44, 141), and a
    time-symmetric corrector (Hut, Makino & McMillan 1995, doi:10.1086/187844). For a few bodies the corrector
    is evaluated twice (Kokubo, Yoshinaga & Makino 1998, doi:10.1046/j.1365-8711.1998.01581.x). The second
    evaluation reduces the run time on eccentric orbits, but not in clusters. All bodies have the same step,
    the smallest step of the criterion of Aarseth (1985) over all bodies:

        h^2 = eta (|a| |a''| + |a'|^2) / (|a'| |a'''| + |a''|^2),    eta = accuracy / (1 + sqrt(R / r))

    In an encounter of two bodies at distance r, a step loses a fraction of the potential energy proportional
    to eta^2. The potential energy is proportional to 1 / r. Below the distance R of a close encounter, eta is
    therefore proportional to sqrt(r), and the energy loss is bounded. This reduction applies to a few bodies;
    for more bodies eta equals the accuracy. Positions and time are stored with their rounding errors
    (`_compensated_add`). The relative error of a separation is therefore at round-off level.

composition: symplectic composition of kick-drift-kick steps.

Each integrator is built from a function `pair_forces(bodies, g, softening_squared, force)` that fills `force`
and returns the smallest softened squared separation, or infinity. An integrator is compiled if one rank
advances all bodies, and runs in Python if ranks exchange messages. An integrator advances `bodies` by
`duration` (s) in place.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from solvers.nbody.gravity import FEW_BODIES
from solvers.nbody.outcome import COMPLETED, NOT_FINITE, TOO_MANY_STEPS
from solvers.numerics.numba_cache import compiled

#: The type of `gravity.pair_forces`.
PairForces = Callable[..., float]

#: The lengths of the kick-drift-kick steps in one step, as fractions of the step, by scheme.
COMPOSITIONS = {
    "leapfrog": (1.0,),
    # The triple jump of Yoshida (1990, doi:10.1016/0375-9601(90)90092-3).
    "yoshida4": (
        1 / (2 - 2 ** (1 / 3)),
        -(2 ** (1 / 3)) / (2 - 2 ** (1 / 3)),
        1 / (2 - 2 ** (1 / 3)),
    ),
}


@compiled()
def copy_rows(source, target):  # type: ignore[no-untyped-def]
    """Copy the rows of `source` to the first rows of `target`; numba compiles a slice for 3 s."""
    for row in range(source.shape[0]):
        for i in range(source.shape[1]):
            target[row, i] = source[row, i]


@compiled()
def _compensated_add(value, error, change):  # type: ignore[no-untyped-def]
    """Return the sum of three numbers and its rounding error (Knuth's TwoSum); `value` is the largest."""
    change += error
    total = value + change
    rounded_change = total - value
    return total, (value - (total - rounded_change)) + (change - rounded_change)


@compiled()
def _predict(bodies, force, h, trial_bodies):  # type: ignore[no-untyped-def]
    """Fill `trial_bodies` (9, n) with the bodies after a step h, by Taylor series."""
    for axis in range(3):
        for i in range(bodies.shape[1]):
            velocity, acceleration, jerk = bodies[3 + axis, i], force[axis, i], force[3 + axis, i]
            trial_bodies[axis, i], trial_bodies[6 + axis, i] = _compensated_add(
                bodies[axis, i],
                bodies[6 + axis, i],
                h * (velocity + h / 2 * (acceleration + h / 3 * jerk)),
            )
            trial_bodies[3 + axis, i] = velocity + h * (acceleration + h / 2 * jerk)


@compiled()
def _correct(bodies, force, new_force, h, trial_bodies):  # type: ignore[no-untyped-def]
    """Fill `trial_bodies` (9, n) with the bodies after a step h, from the forces at both ends of the step."""
    for axis in range(3):
        for i in range(bodies.shape[1]):
            acceleration, new_acceleration = force[axis, i], new_force[axis, i]
            velocity = bodies[3 + axis, i]
            new_velocity = velocity + h / 2 * (
                acceleration + new_acceleration + h / 6 * (force[3 + axis, i] - new_force[3 + axis, i])
            )
            trial_bodies[axis, i], trial_bodies[6 + axis, i] = _compensated_add(
                bodies[axis, i],
                bodies[6 + axis, i],
                h / 2 * (velocity + new_velocity + h / 6 * (acceleration - new_acceleration)),
            )
            trial_bodies[3 + axis, i] = new_velocity


@compiled()
def _next_step(force, new_force, h, eta):  # type: ignore[no-untyped-def]
    """Return the smallest step (s) of Aarseth's criterion over all bodies, or 0 for a step of NaN."""
    shortest_squared = np.inf
    inverse_h = 1 / h
    for i in range(force.shape[1]):
        acceleration_squared = jerk_squared = snap_squared = crackle_squared = 0.0
        for axis in range(3):
            difference = force[axis, i] - new_force[axis, i]
            jerk, new_jerk = force[3 + axis, i], new_force[3 + axis, i]
            # The second and third derivatives of the interpolated acceleration, times h^2 and h^3.
            crackle = 12 * difference + 6 * h * (jerk + new_jerk)
            snap = -6 * difference - h * (4 * jerk + 2 * new_jerk) + crackle
            crackle *= inverse_h * inverse_h * inverse_h
            snap *= inverse_h * inverse_h
            acceleration_squared += new_force[axis, i] ** 2
            jerk_squared += new_jerk**2
            snap_squared += snap**2
            crackle_squared += crackle**2
        numerator = math.sqrt(acceleration_squared * snap_squared) + jerk_squared
        step_squared = numerator / (math.sqrt(jerk_squared * crackle_squared) + snap_squared)
        if numerator == 0:
            continue
        if not step_squared > 0:
            return 0.0
        shortest_squared = min(shortest_squared, step_squared)
    return math.sqrt(eta * shortest_squared)


@compiled()
def _add_multiple(values, h, slopes):  # type: ignore[no-untyped-def]
    """Add h times the first three rows of `slopes` to the first three rows of `values`."""
    for axis in range(3):
        for i in range(values.shape[1]):
            values[axis, i] += h * slopes[axis, i]


def make_hermite(
    pair_forces: PairForces, minimum: Callable[[float], float]
) -> Callable[..., tuple[int, int, float]]:
    """Return the hermite integrator with `pair_forces`; `minimum` reduces a number over all ranks.

    The integrator returns its status (see `outcome`), its number of steps, and the smallest softened squared
    separation (m^2).
    """

    def hermite(bodies, g, softening_squared, step, accuracy, duration, max_steps, close_squared):  # type: ignore[no-untyped-def] # noqa: PLR0917
        current_bodies, trial_bodies = np.zeros((2, 9, bodies.shape[1]))
        copy_rows(bodies, current_bodies)
        force, new_force = np.empty_like(bodies), np.empty_like(bodies)
        least_q = pair_forces(current_bodies, g, softening_squared, force)
        has_few_bodies = g.size <= FEW_BODIES
        remaining_time, time_error = duration, 0.0
        num_steps, status = 0, COMPLETED
        while remaining_time > 0:
            if not step > 0:
                status = NOT_FINITE
                break
            if num_steps == max_steps:
                status = TOO_MANY_STEPS
                break
            # Equal steps in the remaining time avoid a short last step.
            h = remaining_time / max(np.ceil(remaining_time / step), 1.0)
            _predict(current_bodies, force, h, trial_bodies)
            q = np.inf
            for _ in range(2 if has_few_bodies else 1):
                q = pair_forces(trial_bodies, g, softening_squared, new_force)
                least_q = min(least_q, q)
                _correct(current_bodies, force, new_force, h, trial_bodies)
            eta = accuracy / (1 + math.sqrt(math.sqrt(close_squared / q))) if has_few_bodies else accuracy
            step = minimum(_next_step(force, new_force, h, eta))
            current_bodies, trial_bodies = trial_bodies, current_bodies
            force, new_force = new_force, force
            remaining_time, time_error = (
                _compensated_add(remaining_time, time_error, -h) if remaining_time > h else (0.0, 0.0)
            )
            num_steps += 1
        copy_rows(current_bodies[:6], bodies)
        return status, num_steps, minimum(least_q)

    return hermite


def make_composition(pair_forces: PairForces) -> Callable[..., float]:
    """Return the symplectic integrator with `pair_forces`; see `COMPOSITIONS` for the argument `lengths`.

    The integrator returns the smallest softened squared separation (m^2).
    """

    def compose(bodies, g, softening_squared, lengths, num_steps, duration):  # type: ignore[no-untyped-def] # noqa: PLR0917
        force = np.empty_like(bodies[:3])
        h = duration / num_steps
        least_q = pair_forces(bodies, g, softening_squared, force)
        for _ in range(num_steps):
            for length in lengths:
                _add_multiple(bodies[3:], length * h / 2, force)
                _add_multiple(bodies[:3], length * h, bodies[3:])
                least_q = min(least_q, pair_forces(bodies, g, softening_squared, force))
                _add_multiple(bodies[3:], length * h / 2, force)
        return least_q

    return compose
