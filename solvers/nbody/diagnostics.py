"""Compiled energy, momentum, angular momentum, separations and time scales of a state of bodies.

`gravity` describes the arrays. `mass` (n,) is in kg.
"""

from __future__ import annotations

import math

import numpy as np

from solvers.numerics.numba_cache import compiled

#: The entries of the array that `observe` fills. Momentum and angular momentum have three entries each.
ENERGY, MOMENTUM, ANGULAR_MOMENTUM, LEAST_SEPARATION = 0, 1, 4, 7
NUM_OBSERVABLES = 8


@compiled(inline="never", fastmath={"contract", "reassoc"})
def _potential_at(bodies, g, softening_squared, i):  # type: ignore[no-untyped-def]
    """Return the gravitational potential (m^2/s^2) of all bodies j > i at body i."""
    x, y, z = bodies[0, i], bodies[1, i], bodies[2, i]
    potential = 0.0
    for j in range(i + 1, g.size):
        dx, dy, dz = bodies[0, j] - x, bodies[1, j] - y, bodies[2, j] - z
        potential -= g[j] / math.sqrt(dx * dx + dy * dy + dz * dz + softening_squared)
    return potential


@compiled(inline="never", fastmath={"contract", "nnan", "nsz"})
def _least_squared_separation(bodies, i):  # type: ignore[no-untyped-def]
    """Return the smallest squared distance (m^2) between body i and the bodies j > i."""
    x, y, z = bodies[0, i], bodies[1, i], bodies[2, i]
    least_square = np.inf
    for j in range(i + 1, bodies.shape[1]):
        dx, dy, dz = bodies[0, j] - x, bodies[1, j] - y, bodies[2, j] - z
        square = dx * dx + dy * dy + dz * dz
        least_square = square if square < least_square else least_square
    return least_square


@compiled()
def pair_sums(bodies, mass, g, softening_squared, first, stride):  # type: ignore[no-untyped-def] # noqa: PLR0917
    """Return the potential energy (J) and the smallest squared separation (m^2) of the pairs of some bodies.

    The pairs consist of each body i = first, first + stride, ... and all bodies j > i.
    """
    potential, least_square = 0.0, np.inf
    for i in range(first, g.size, stride):
        potential += mass[i] * _potential_at(bodies, g, softening_squared, i)
        least_square = min(least_square, _least_squared_separation(bodies, i))
    return potential, least_square


@compiled()
def observe(bodies, mass, potential, least_separation_squared, observables):  # type: ignore[no-untyped-def]
    """Fill `observables` (8,) from all bodies, their potential energy and smallest squared separation.

    `potential` is in J, `least_separation_squared` in m^2. The entries are energy (J), momentum (kg m/s),
    angular momentum about the origin (kg m^2/s) and smallest separation (m).
    """
    observables[:] = 0.0
    for i in range(mass.size):
        x, y, z = bodies[0, i], bodies[1, i], bodies[2, i]
        px, py, pz = mass[i] * bodies[3, i], mass[i] * bodies[4, i], mass[i] * bodies[5, i]
        observables[ENERGY] += 0.5 * (px * bodies[3, i] + py * bodies[4, i] + pz * bodies[5, i])
        observables[MOMENTUM] += px
        observables[MOMENTUM + 1] += py
        observables[MOMENTUM + 2] += pz
        observables[ANGULAR_MOMENTUM] += y * pz - z * py
        observables[ANGULAR_MOMENTUM + 1] += z * px - x * pz
        observables[ANGULAR_MOMENTUM + 2] += x * py - y * px
    observables[ENERGY] += potential
    observables[LEAST_SEPARATION] = math.sqrt(least_separation_squared)


@compiled(inline="never", fastmath={"contract", "nnan", "nsz"})
def _shortest_squared_time(bodies, g, softening_squared, i):  # type: ignore[no-untyped-def]
    """Return the square of `shortest_time` (s^2) for body i and the bodies j > i."""
    x, y, z, vx, vy, vz = (
        bodies[0, i], bodies[1, i], bodies[2, i], bodies[3, i], bodies[4, i], bodies[5, i]
    )  # fmt: skip
    shortest = np.inf
    for j in range(i + 1, g.size):
        dx, dy, dz = bodies[0, j] - x, bodies[1, j] - y, bodies[2, j] - z
        wx, wy, wz = bodies[3, j] - vx, bodies[4, j] - vy, bodies[5, j] - vz
        q = dx * dx + dy * dy + dz * dz + softening_squared
        time_squared = q / (wx * wx + wy * wy + wz * wz + (g[i] + g[j]) / math.sqrt(q))
        shortest = time_squared if time_squared < shortest else shortest
    return shortest


@compiled()
def shortest_time(bodies, g, softening_squared, first, stride):  # type: ignore[no-untyped-def]
    """Return the shortest time scale (s) of a pair, from the relative speed and the free fall.

    The pairs consist of each body i = first, first + stride, ... and all bodies j > i.
    """
    shortest = np.inf
    for i in range(first, g.size, stride):
        shortest = min(shortest, _shortest_squared_time(bodies, g, softening_squared, i))
    return math.sqrt(shortest)
