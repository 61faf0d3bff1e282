"""Energy, momentum, angular momentum, separations and time scales of a state of bodies, compiled.

Arrays as in `gravity`; `mass` is (n,), in kg.
"""

from __future__ import annotations

import math

import numpy as np

from solvers.numerics.numba_cache import compiled

#: The entries of the array that `observe` fills; momentum and angular momentum have three each.
ENERGY, MOMENTUM, ANGULAR_MOMENTUM, LEAST_SEPARATION = 0, 1, 4, 7
NUM_OBSERVED = 8


@compiled(inline="never", fastmath={"contract", "reassoc"})
def _potential_at(bodies, g, softening2, i):  # type: ignore[no-untyped-def]
    """Return the potential (m^2/s^2) at body i of the bodies after it."""
    x, y, z = bodies[0, i], bodies[1, i], bodies[2, i]
    total = 0.0
    for j in range(i + 1, g.size):
        dx, dy, dz = bodies[0, j] - x, bodies[1, j] - y, bodies[2, j] - z
        total -= g[j] / math.sqrt(dx * dx + dy * dy + dz * dz + softening2)
    return total


@compiled(inline="never", fastmath={"contract", "nnan", "nsz"})
def _least_squared_separation(bodies, i):  # type: ignore[no-untyped-def]
    """Return the squared distance (m^2) of body i from the nearest of the bodies after it."""
    x, y, z = bodies[0, i], bodies[1, i], bodies[2, i]
    least = np.inf
    for j in range(i + 1, bodies.shape[1]):
        dx, dy, dz = bodies[0, j] - x, bodies[1, j] - y, bodies[2, j] - z
        square = dx * dx + dy * dy + dz * dz
        least = square if square < least else least
    return least


@compiled()
def pair_sums(bodies, mass, g, softening2, first, stride):  # type: ignore[no-untyped-def] # noqa: PLR0917
    """Return the potential energy (J) and the least squared separation (m^2) of a share of the pairs.

    The share holds the pairs of every `stride`-th body, from `first` on, with the bodies after it.
    """
    potential, least = 0.0, np.inf
    for i in range(first, g.size, stride):
        potential += mass[i] * _potential_at(bodies, g, softening2, i)
        least = min(least, _least_squared_separation(bodies, i))
    return potential, least


@compiled()
def observe(bodies, mass, potential, least2, observed):  # type: ignore[no-untyped-def]
    """Fill `observed` (8,) from all bodies, their potential energy (J) and least squared separation (m^2).

    The entries are energy (J), momentum (kg m/s), angular momentum about the origin (kg m^2/s) and least
    separation (m).
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
def _shortest_squared_time(bodies, g, softening2, i):  # type: ignore[no-untyped-def]
    """Return the square of `shortest_time` (s^2) for body i and the bodies after it."""
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
    """Return the shortest time (s) in which a pair moves by its separation, at its speed and in free fall.

    The pairs consist of every `stride`-th body, from `first` on, and the bodies after it.
    """
    shortest = np.inf
    for i in range(first, g.size, stride):
        shortest = min(shortest, _shortest_squared_time(bodies, g, softening2, i))
    return math.sqrt(shortest)
