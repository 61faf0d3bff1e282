"""The integrators of the n-body problem. Arrays as in `gravity`.

hermite: fourth order, from accelerations and jerks (Makino & Aarseth 1992, PASJ 44, 141), with the corrector
    in its time-symmetric form (Hut, Makino & McMillan 1995, doi:10.1086/187844). For a few bodies the
    corrector is evaluated twice (Kokubo, Yoshinaga & Makino 1998, doi:10.1046/j.1365-8711.1998.01581.x):
    the second evaluation saves more steps than it costs on eccentric orbits, but not in clusters. All bodies
    share one step, the smallest that Aarseth's criterion (1985) allows for any body,

        h^2 = eta (|a| |a''| + |a'|^2) / (|a'| |a'''| + |a''|^2),    eta = accuracy / (1 + sqrt(R / r))

    In an encounter of two bodies a step loses a fraction of the pair's potential energy proportional to
    eta^2, and that energy grows with 1 / r as their distance r shrinks. Below the distance R of a close
    encounter, eta is therefore proportional to sqrt(r), and the energy loss stays bounded. This holds for a
    few bodies; for more bodies eta equals the accuracy. Positions and time are stored with their rounding
    errors (`_compensated_add`), so that the relative error of a separation is at round-off.

composition: symplectic compositions of kick-drift-kick steps of one length.

Each integrator is built from a function `pair_forces(bodies, g, softening2, force)` that fills `force` and
returns the least softened squared separation, or infinity. The integrator is compiled where one rank
advances all bodies, and runs in Python where ranks exchange messages. It advances `bodies` by `duration` (s)
in place.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from solvers.nbody.gravity import FEW
from solvers.nbody.outcome import COMPLETED, NOT_FINITE, TOO_MANY_STEPS
from solvers.numerics.numba_cache import compiled

#: See `gravity.pair_forces`.
PairForces = Callable[..., float]

#: The lengths of the kick-drift-kick steps within one step, as fractions of the step, by name of the scheme.
COMPOSITIONS = {
    "leapfrog": (1.0,),
    # Yoshida (1990), doi:10.1016/0375-9601(90)90092-3: the triple jump.
    "yoshida4": (
        1 / (2 - 2 ** (1 / 3)),
        -(2 ** (1 / 3)) / (2 - 2 ** (1 / 3)),
        1 / (2 - 2 ** (1 / 3)),
    ),
}


@compiled()
def _compensated_add(value, error, change):  # type: ignore[no-untyped-def]
    """Return the sum of three numbers, the first the largest, and its rounding error (Knuth's TwoSum)."""
    change += error
    total = value + change
    added = total - value
    return total, (value - (total - added)) + (change - added)


@compiled()
def _predict(bodies, force, h, trial):  # type: ignore[no-untyped-def]
    """Fill `trial` (9, n) with the bodies after a step h, from Taylor series of positions and velocities."""
    for axis in range(3):
        for i in range(bodies.shape[1]):
            velocity, acceleration, jerk = bodies[3 + axis, i], force[axis, i], force[3 + axis, i]
            trial[axis, i], trial[6 + axis, i] = _compensated_add(
                bodies[axis, i],
                bodies[6 + axis, i],
                h * (velocity + h / 2 * (acceleration + h / 3 * jerk)),
            )
            trial[3 + axis, i] = velocity + h * (acceleration + h / 2 * jerk)


@compiled()
def _correct(bodies, force, new_force, h, trial):  # type: ignore[no-untyped-def]
    """Fill `trial` (9, n) with the bodies after a step h, from the forces at both ends of the step."""
    for axis in range(3):
        for i in range(bodies.shape[1]):
            a, new_a = force[axis, i], new_force[axis, i]
            velocity = bodies[3 + axis, i]
            new_velocity = velocity + h / 2 * (
                a + new_a + h / 6 * (force[3 + axis, i] - new_force[3 + axis, i])
            )
            trial[axis, i], trial[6 + axis, i] = _compensated_add(
                bodies[axis, i], bodies[6 + axis, i], h / 2 * (velocity + new_velocity + h / 6 * (a - new_a))
            )
            trial[3 + axis, i] = new_velocity


@compiled()
def _next_step(force, new_force, h, eta):  # type: ignore[no-untyped-def]
    """Return the smallest step (s) of Aarseth's criterion; 0 where the step is not a number."""
    shortest = np.inf
    rate = 1 / h
    for i in range(force.shape[1]):
        a2 = jerk2 = snap2 = crackle2 = 0.0
        for axis in range(3):
            difference = force[axis, i] - new_force[axis, i]
            jerk, new_jerk = force[3 + axis, i], new_force[3 + axis, i]
            # Second and third derivative of the interpolated acceleration, times h^2 and h^3.
            crackle = 12 * difference + 6 * h * (jerk + new_jerk)
            snap = -6 * difference - h * (4 * jerk + 2 * new_jerk) + crackle
            crackle *= rate * rate * rate
            snap *= rate * rate
            a2 += new_force[axis, i] ** 2
            jerk2 += new_jerk**2
            snap2 += snap**2
            crackle2 += crackle**2
        numerator = math.sqrt(a2 * snap2) + jerk2
        limit = numerator / (math.sqrt(jerk2 * crackle2) + snap2)
        if numerator == 0:
            continue
        if not limit > 0:
            return 0.0
        shortest = min(shortest, limit)
    return math.sqrt(eta * shortest)


@compiled()
def _add_multiple(values, h, slopes):  # type: ignore[no-untyped-def]
    """Add h times the first three rows of `slopes` to the first three rows of `values`."""
    for axis in range(3):
        for i in range(values.shape[1]):
            values[axis, i] += h * slopes[axis, i]


def make_hermite(
    pair_forces: PairForces, minimum: Callable[[float], float]
) -> Callable[..., tuple[int, int, float]]:
    """Return the hermite integrator over `pair_forces`; `minimum` reduces a number over all ranks.

    The integrator returns its status (see `outcome`), its number of steps, and the least softened squared
    separation (m^2).
    """

    def hermite(bodies, g, softening2, step, accuracy, duration, max_steps, close2):  # type: ignore[no-untyped-def] # noqa: PLR0917
        current, trial = np.zeros((2, 9, bodies.shape[1]))
        current[:6] = bodies
        force, new_force = np.empty_like(bodies), np.empty_like(bodies)
        least = pair_forces(current, g, softening2, force)
        is_few = g.size <= FEW
        remaining, remaining_error = duration, 0.0
        num_steps, status = 0, COMPLETED
        while remaining > 0:
            if not step > 0:
                status = NOT_FINITE
                break
            if num_steps == max_steps:
                status = TOO_MANY_STEPS
                break
            # Divide the remaining time into equal steps, so that the last step is as long as the others.
            h = remaining / max(np.ceil(remaining / step), 1.0)
            _predict(current, force, h, trial)
            q = np.inf
            for _ in range(2 if is_few else 1):
                q = pair_forces(trial, g, softening2, new_force)
                least = min(least, q)
                _correct(current, force, new_force, h, trial)
            eta = accuracy / (1 + math.sqrt(math.sqrt(close2 / q))) if is_few else accuracy
            step = minimum(_next_step(force, new_force, h, eta))
            current, trial = trial, current
            force, new_force = new_force, force
            remaining, remaining_error = (
                _compensated_add(remaining, remaining_error, -h) if remaining > h else (0.0, 0.0)
            )
            num_steps += 1
        bodies[:] = current[:6]
        return status, num_steps, minimum(least)

    return hermite


def make_composition(pair_forces: PairForces) -> Callable[..., float]:
    """Return the symplectic integrator over `pair_forces`; see `COMPOSITIONS` for its argument `lengths`.

    The integrator returns the least softened squared separation (m^2).
    """

    def compose(bodies, g, softening2, lengths, num_steps, duration):  # type: ignore[no-untyped-def] # noqa: PLR0917
        force = np.empty_like(bodies[:3])
        h = duration / num_steps
        least = pair_forces(bodies, g, softening2, force)
        for _ in range(num_steps):
            for length in lengths:
                _add_multiple(bodies[3:], length * h / 2, force)
                _add_multiple(bodies[:3], length * h, bodies[3:])
                least = min(least, pair_forces(bodies, g, softening2, force))
                _add_multiple(bodies[3:], length * h / 2, force)
        return least

    return compose
