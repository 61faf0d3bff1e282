"""The integrators of the n-body problem. Arrays as in `nbody_gravity`.

hermite: fourth order, from the acceleration and its rate (Makino & Aarseth 1992, PASJ 44, 141), in the
    time-symmetric form of the corrector (Hut, Makino & McMillan 1995, doi:10.1086/187844). For a few bodies
    that is evaluated twice (Kokubo, Yoshinaga & Makino 1998, doi:10.1046/j.1365-8711.1998.01581.x): on
    eccentric orbits it saves more steps than it costs; in clusters it does not. All bodies share a step: the
    least that Aarseth's criterion (1985) allows any of them,

        h^2 = eta (|a| |a''| + |a'|^2) / (|a'| |a'''| + |a''|^2),    eta = accuracy / (1 + sqrt(R / r))

    The energy that a step loses in an encounter of two bodies is a share of their potential energy that goes
    with eta^2. That energy grows with 1 / r as they come to a distance r: eta falls with sqrt(r) below the
    distance R of a close encounter, and the loss does not grow. So it is for a few bodies; for more, eta is
    the accuracy. Positions, and the time, are kept with what rounding leaves of them (`_add`): a
    separation is then known to round-off of itself, not of the distance from the origin.

compose: symplectic compositions of kick-drift-kick steps of one length.

Each is built over `attract(bodies, g, softening2, force)`, which fills the force and gives the least squared
distance it met, softened, or infinity: compiled where one rank moves all bodies, in Python around the
messages of many ranks. It moves `bodies` through `duration` (s) in place.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from solvers.nbody.gravity import FEW
from solvers.nbody.outcome import ARRIVED, NOT_FINITE, TOO_MANY_STEPS
from solvers.numerics.numba_cache import compiled

Attract = Callable[..., float]

#: The lengths of the kick-drift-kick steps that make one step, over its length, by name of the scheme.
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
def _add(value, rest, change):  # type: ignore[no-untyped-def]
    """The sum of three numbers, the first the largest, and what rounding leaves of it (Knuth's TwoSum)."""
    change += rest
    total = value + change
    added = total - value
    return total, (value - (total - added)) + (change - added)


@compiled()
def _predict(bodies, force, h, trial):  # type: ignore[no-untyped-def]
    """The bodies (9, n) after a step h, from the Taylor series of their positions and velocities."""
    for axis in range(3):
        for i in range(bodies.shape[1]):
            velocity, acceleration, jerk = bodies[3 + axis, i], force[axis, i], force[3 + axis, i]
            trial[axis, i], trial[6 + axis, i] = _add(
                bodies[axis, i],
                bodies[6 + axis, i],
                h * (velocity + h / 2 * (acceleration + h / 3 * jerk)),
            )
            trial[3 + axis, i] = velocity + h * (acceleration + h / 2 * jerk)


@compiled()
def _correct(bodies, force, new_force, h, trial):  # type: ignore[no-untyped-def]
    """The bodies (9, n) after a step h, from the forces at both its ends."""
    for axis in range(3):
        for i in range(bodies.shape[1]):
            a, new_a = force[axis, i], new_force[axis, i]
            velocity = bodies[3 + axis, i]
            new_velocity = velocity + h / 2 * (
                a + new_a + h / 6 * (force[3 + axis, i] - new_force[3 + axis, i])
            )
            trial[axis, i], trial[6 + axis, i] = _add(
                bodies[axis, i], bodies[6 + axis, i], h / 2 * (velocity + new_velocity + h / 6 * (a - new_a))
            )
            trial[3 + axis, i] = new_velocity


@compiled()
def _next_step(force, new_force, h, eta):  # type: ignore[no-untyped-def]
    """The least step (s) that Aarseth's criterion allows a body, 0 where that is not a number."""
    shortest = np.inf
    rate = 1 / h
    for i in range(force.shape[1]):
        a2 = jerk2 = snap2 = crackle2 = 0.0
        for axis in range(3):
            difference = force[axis, i] - new_force[axis, i]
            jerk, new_jerk = force[3 + axis, i], new_force[3 + axis, i]
            # What the interpolation through both ends has for the second and third rate, times h^2 and h^3.
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
def _push(values, h, slopes):  # type: ignore[no-untyped-def]
    for axis in range(3):
        for i in range(values.shape[1]):
            values[axis, i] += h * slopes[axis, i]


def hermite_with(attract: Attract, least: Callable[[float], float]) -> Callable[..., tuple[int, int, float]]:
    """The hermite scheme over a way to sum forces; `least` gives the least of all ranks' values.

    It returns how it ended, its steps, and the least squared distance met, softened.
    """

    def hermite(bodies, g, softening2, step, accuracy, duration, max_steps, close2):  # type: ignore[no-untyped-def] # noqa: PLR0917
        held, trial = np.zeros((2, 9, bodies.shape[1]))
        held[:6] = bodies
        force, new_force = np.empty_like(bodies), np.empty_like(bodies)
        nearest = attract(held, g, softening2, force)
        few = g.size <= FEW
        left, left_rest = duration, 0.0
        num_steps, end = 0, ARRIVED
        while left > 0:
            if not step > 0:
                end = NOT_FINITE
                break
            if num_steps == max_steps:
                end = TOO_MANY_STEPS
                break
            # The rest in equal steps, so that none is left over at the end.
            h = left / max(np.ceil(left / step), 1.0)
            _predict(held, force, h, trial)
            q = np.inf
            for _ in range(2 if few else 1):
                q = attract(trial, g, softening2, new_force)
                nearest = min(nearest, q)
                _correct(held, force, new_force, h, trial)
            eta = accuracy / (1 + math.sqrt(math.sqrt(close2 / q))) if few else accuracy
            step = least(_next_step(force, new_force, h, eta))
            held, trial = trial, held
            force, new_force = new_force, force
            left, left_rest = _add(left, left_rest, -h) if left > h else (0.0, 0.0)
            num_steps += 1
        bodies[:] = held[:6]
        return end, num_steps, least(nearest)

    return hermite


def compose_with(attract: Attract) -> Callable[..., float]:
    """The symplectic schemes over a way to sum forces; `lengths` as in `COMPOSITIONS`."""

    def compose(bodies, g, softening2, lengths, num_steps, duration):  # type: ignore[no-untyped-def] # noqa: PLR0917
        force = np.empty_like(bodies[:3])
        h = duration / num_steps
        nearest = attract(bodies, g, softening2, force)
        for _ in range(num_steps):
            for length in lengths:
                _push(bodies[3:], length * h / 2, force)
                _push(bodies[:3], length * h, bodies[3:])
                nearest = min(nearest, attract(bodies, g, softening2, force))
                _push(bodies[3:], length * h / 2, force)
        return nearest

    return compose
