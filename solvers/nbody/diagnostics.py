"""What is measured of a state of bodies: energy, momentum, angular momentum, separations, compiled.

Arrays as in `nbody_gravity`; `mass` is (n,), in kg.
"""

from __future__ import annotations

import math

import numpy as np

from solvers.numerics.numba_cache import compiled

#: The rows of what `observe` gives.
ENERGY, MOMENTUM, ANGULAR_MOMENTUM, LEAST_SEPARATION = 0, 1, 4, 7
NUM_OBSERVED = 8


@compiled(inline="never", fastmath={"contract", "reassoc"})
def _potential_of_one(bodies, g, softening2, i):  # type: ignore[no-untyped-def]
    """The potential (m^2/s^2) at body i of those after it."""
    x, y, z = bodies[0, i], bodies[1, i], bodies[2, i]
    total = 0.0
    for j in range(i + 1, g.size):
        dx, dy, dz = bodies[0, j] - x, bodies[1, j] - y, bodies[2, j] - z
        total -= g[j] / math.sqrt(dx * dx + dy * dy + dz * dz + softening2)
    return total


@compiled(inline="never", fastmath={"contract", "nnan", "nsz"})
def _nearest_to_one(bodies, i):  # type: ignore[no-untyped-def]
    """The squared distance (m^2) of body i from the nearest of those after it."""
    x, y, z = bodies[0, i], bodies[1, i], bodies[2, i]
    least = np.inf
    for j in range(i + 1, bodies.shape[1]):
        dx, dy, dz = bodies[0, j] - x, bodies[1, j] - y, bodies[2, j] - z
        square = dx * dx + dy * dy + dz * dz
        least = square if square < least else least
    return least


@compiled()
def pairs(bodies, mass, g, softening2, first, stride):  # type: ignore[no-untyped-def] # noqa: PLR0917
    """The potential energy (J) and the least squared separation (m^2) of the pairs of every `stride`-th
    body from `first` on with those after it.
    """
    potential, least = 0.0, np.inf
    for i in range(first, g.size, stride):
        potential += mass[i] * _potential_of_one(bodies, g, softening2, i)
        least = min(least, _nearest_to_one(bodies, i))
    return potential, least


@compiled()
def observe(bodies, mass, potential, least2, observed):  # type: ignore[no-untyped-def]
    """Energy (J), momentum (kg m/s), angular momentum about the origin (kg m^2/s) and least separation (m)
    of all bodies into `observed`, from what `pairs` gives of them.
    """
    observed[:] = 0.0
    for i in range(mass.size):
        x, y, z = bodies[0, i], bodies[1, i], bodies[2, i]
        px, py, pz = mass[i] * bodies[3, i], mass[i] * bodies[4, i], mass[i] * bodies[5, i]
        observed[ENERGY] += 0.5 * (px * bodies[3, i] + py * bodies[4, i] + pz * bodies[5, i])
        observed[MOMENTUM] += px
        observed[MOMENTUM + 1] += py
        observed[MOMENTUM + 2] += pz
        observed[ANGULAR_MOMENTUM] += y * pz - z * py
        observed[ANGULAR_MOMENTUM + 1] += z * px - x * pz
        observed[ANGULAR_MOMENTUM + 2] += x * py - y * px
    observed[ENERGY] += potential
    observed[LEAST_SEPARATION] = math.sqrt(least2)


@compiled(inline="never", fastmath={"contract", "nnan", "nsz"})
def _shortest_of_one(bodies, g, softening2, i):  # type: ignore[no-untyped-def]
    """See `shortest_time`, squared, for body i and those after it."""
    x, y, z, vx, vy, vz = (
        bodies[0, i], bodies[1, i], bodies[2, i], bodies[3, i], bodies[4, i], bodies[5, i]
    )  # fmt: skip
    shortest = np.inf
    for j in range(i + 1, g.size):
        dx, dy, dz = bodies[0, j] - x, bodies[1, j] - y, bodies[2, j] - z
        wx, wy, wz = bodies[3, j] - vx, bodies[4, j] - vy, bodies[5, j] - vz
        q = dx * dx + dy * dy + dz * dz + softening2
        square = q / (wx * wx + wy * wy + wz * wz + (g[i] + g[j]) / math.sqrt(q))
        shortest = square if square < shortest else shortest
    return shortest


@compiled()
def shortest_time(bodies, g, softening2, first, stride):  # type: ignore[no-untyped-def]
    """The shortest time (s) in which a pair, at its speed and in free fall, changes much; the pairs of every
    `stride`-th body from `first` on with those after it.
    """
    shortest = np.inf
    for i in range(first, g.size, stride):
        shortest = min(shortest, _shortest_of_one(bodies, g, softening2, i))
    return math.sqrt(shortest)
