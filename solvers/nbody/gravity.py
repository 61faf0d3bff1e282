"""Compiled direct summation of Newtonian gravity with Plummer softening over all pairs of bodies.

    a_i = sum over j of g_j d / q^(3/2),    d = x_j - x_i,    q = |d|^2 + softening^2,    g = G m
    da_i/dt = sum over j of g_j (w / q^(3/2) - 3 (d.w) d / q^(5/2)),    w = v_j - v_i

Arrays of this module:
    bodies: (6, n), three rows of positions (m) and three rows of velocities (m/s). For a few bodies (9, n):
        the last three rows are the rounding errors of the positions, as corrections of the separations.
    g: (n,), m^3/s^2.
    force: (6, n), three rows of accelerations (m/s^2) and three rows of jerks (m/s^3), the time derivatives
        of the accelerations; or (3, n), only accelerations.

A body exerts no force on itself. Two bodies at the same position exert no force on each other.

Each pair needs one square root and one division for both forces. The sources are copied to tiles. A tile and
its forces fit in the first-level cache, and the loop over a tile is vectorised. The compiler may reorder the
sums of this loop, but every run on one machine gives the same bits.
"""

# ruff: noqa: PLR0917 - numba passes separate scalars faster than arrays.

from __future__ import annotations

import math

import numpy as np

from solvers.numerics.numba_cache import compiled

#: The largest number of bodies for which forces are summed pair by pair instead of tile by tile.
FEW_BODIES = 12

#: The number of bodies of a tile. With a constant the compiler knows that rows of a tile do not overlap.
TILE = 128

# The replacement of a zero squared separation, smaller than any squared separation with a finite inverse
# cube.
_SMALLEST_SQUARE = 1e-200

_ROW_OPTIONS = {"inline": "never", "fastmath": {"contract", "reassoc"}}


@compiled(**_ROW_OPTIONS)
def _tile_accelerations(tile, count, x, y, z, g, softening_squared):  # type: ignore[no-untyped-def]
    """Return the acceleration of one body by the bodies of a tile, and add the reactions to the tile."""
    ax = ay = az = 0.0
    for j in range(count):
        dx, dy, dz = tile[j] - x, tile[TILE + j] - y, tile[2 * TILE + j] - z
        q = max(dx * dx + dy * dy + dz * dz + softening_squared, _SMALLEST_SQUARE)
        inverse = 1.0 / math.sqrt(q)
        inverse_cube = inverse * inverse * inverse
        pull, push = tile[6 * TILE + j] * inverse_cube, g * inverse_cube
        ax += pull * dx
        ay += pull * dy
        az += pull * dz
        tile[7 * TILE + j] -= push * dx
        tile[8 * TILE + j] -= push * dy
        tile[9 * TILE + j] -= push * dz
    return ax, ay, az


@compiled(**_ROW_OPTIONS)
def _tile_accelerations_and_jerks(tile, count, x, y, z, vx, vy, vz, g, softening_squared):  # type: ignore[no-untyped-def]
    """Return acceleration and jerk of one body by the bodies of a tile, and add the reactions to the tile.

    The function also updates the smallest q of each body of the tile, without the q of a body with itself.
    """
    own_q = max(softening_squared, _SMALLEST_SQUARE)
    ax = ay = az = jx = jy = jz = 0.0
    for j in range(count):
        dx, dy, dz = tile[j] - x, tile[TILE + j] - y, tile[2 * TILE + j] - z
        wx, wy, wz = tile[3 * TILE + j] - vx, tile[4 * TILE + j] - vy, tile[5 * TILE + j] - vz
        q = max(dx * dx + dy * dy + dz * dz + softening_squared, _SMALLEST_SQUARE)
        least_q = tile[13 * TILE + j]
        tile[13 * TILE + j] = q if own_q < q < least_q else least_q
        inverse = 1.0 / math.sqrt(q)
        inverse_square = inverse * inverse
        inverse_cube = inverse * inverse_square
        jerk_factor = -3.0 * inverse_square * (dx * wx + dy * wy + dz * wz)
        wx, wy, wz = wx + jerk_factor * dx, wy + jerk_factor * dy, wz + jerk_factor * dz
        pull, push = tile[6 * TILE + j] * inverse_cube, g * inverse_cube
        ax += pull * dx
        ay += pull * dy
        az += pull * dz
        jx += pull * wx
        jy += pull * wy
        jz += pull * wz
        tile[7 * TILE + j] -= push * dx
        tile[8 * TILE + j] -= push * dy
        tile[9 * TILE + j] -= push * dz
        tile[10 * TILE + j] -= push * wx
        tile[11 * TILE + j] -= push * wy
        tile[12 * TILE + j] -= push * wz
    return ax, ay, az, jx, jy, jz


@compiled()
def _load_tile(tile, bodies, g, first, count):  # type: ignore[no-untyped-def]
    """Copy `count` bodies into a tile and set the forces of the tile to zero."""
    for row in range(6):
        for j in range(count):
            tile[row * TILE + j] = bodies[row, first + j]
    for j in range(count):
        tile[6 * TILE + j] = g[first + j]
    tile[7 * TILE : 13 * TILE] = 0.0


@compiled()
def _add_tile_forces(tile, count, bodies, g, softening_squared, force, first, last):  # type: ignore[no-untyped-def]
    """Add the forces between a tile and the bodies `first` to `last - 1` to the tile and to `force`."""
    for i in range(first, last):
        x, y, z = bodies[0, i], bodies[1, i], bodies[2, i]
        if force.shape[0] == 3:
            ax, ay, az = _tile_accelerations(tile, count, x, y, z, g[i], softening_squared)
        else:
            vx, vy, vz = bodies[3, i], bodies[4, i], bodies[5, i]
            ax, ay, az, jx, jy, jz = _tile_accelerations_and_jerks(
                tile, count, x, y, z, vx, vy, vz, g[i], softening_squared
            )
            force[3, i] += jx
            force[4, i] += jy
            force[5, i] += jz
        force[0, i] += ax
        force[1, i] += ay
        force[2, i] += az


@compiled()
def tiled_pair_forces(bodies, g, softening_squared, force):  # type: ignore[no-untyped-def]
    """Fill `force` with the forces between all bodies, tile by tile.

    Return the smallest q if jerks are computed, else infinity.
    """
    num_bodies = g.size
    tile = np.full(14 * TILE, np.inf)
    force[:] = 0.0
    for first in range(0, num_bodies, TILE):
        count = min(TILE, num_bodies - first)
        _load_tile(tile, bodies, g, first, count)
        # Pairs inside a tile are computed from both bodies. The forces in the tile are therefore discarded.
        _add_tile_forces(tile, count, bodies, g, softening_squared, force, first, first + count)
        tile[7 * TILE : 13 * TILE] = 0.0
        _add_tile_forces(tile, count, bodies, g, softening_squared, force, first + count, num_bodies)
        for row in range(force.shape[0]):
            for j in range(count):
                force[row, first + j] += tile[(7 + row) * TILE + j]
    return np.min(tile[13 * TILE :])


@compiled()
def forces_between(bodies, g, softening_squared, force, other_bodies, other_g, other_force):  # type: ignore[no-untyped-def]
    """Add the forces between two sets of bodies to `force` and `other_force`.

    A body in both sets exerts no force on itself. Return the smallest q if jerks are computed, else infinity.
    """
    num_other_bodies = other_g.size
    tile = np.full(14 * TILE, np.inf)
    for first in range(0, num_other_bodies, TILE):
        count = min(TILE, num_other_bodies - first)
        _load_tile(tile, other_bodies, other_g, first, count)
        _add_tile_forces(tile, count, bodies, g, softening_squared, force, 0, g.size)
        for row in range(force.shape[0]):
            for j in range(count):
                other_force[row, first + j] += tile[(7 + row) * TILE + j]
    return np.min(tile[13 * TILE :])


@compiled()
def _few_pair_forces(bodies, g, softening_squared, force):  # type: ignore[no-untyped-def]
    """Fill `force` with the forces between a few bodies; return the smallest q."""
    num_bodies = g.size
    least_q = np.inf
    force[:] = 0.0
    for i in range(num_bodies):
        x, y, z = bodies[0, i], bodies[1, i], bodies[2, i]
        vx, vy, vz = bodies[3, i], bodies[4, i], bodies[5, i]
        ax = ay = az = jx = jy = jz = 0.0
        for j in range(i + 1, num_bodies):
            dx, dy, dz = bodies[0, j] - x, bodies[1, j] - y, bodies[2, j] - z
            if bodies.shape[0] == 9:
                dx += bodies[6, j] - bodies[6, i]
                dy += bodies[7, j] - bodies[7, i]
                dz += bodies[8, j] - bodies[8, i]
            q = dx * dx + dy * dy + dz * dz + softening_squared
            least_q = min(least_q, q)
            inverse = 1.0 / math.sqrt(max(q, _SMALLEST_SQUARE))
            inverse_square = inverse * inverse
            pull, push = g[j] * inverse * inverse_square, g[i] * inverse * inverse_square
            ax += pull * dx
            ay += pull * dy
            az += pull * dz
            force[0, j] -= push * dx
            force[1, j] -= push * dy
            force[2, j] -= push * dz
            if force.shape[0] == 6:
                wx, wy, wz = bodies[3, j] - vx, bodies[4, j] - vy, bodies[5, j] - vz
                jerk_factor = -3.0 * inverse_square * (dx * wx + dy * wy + dz * wz)
                wx, wy, wz = wx + jerk_factor * dx, wy + jerk_factor * dy, wz + jerk_factor * dz
                jx += pull * wx
                jy += pull * wy
                jz += pull * wz
                force[3, j] -= push * wx
                force[4, j] -= push * wy
                force[5, j] -= push * wz
        force[0, i] += ax
        force[1, i] += ay
        force[2, i] += az
        if force.shape[0] == 6:
            force[3, i] += jx
            force[4, i] += jy
            force[5, i] += jz
    return least_q


@compiled()
def pair_forces(bodies, g, softening_squared, force):  # type: ignore[no-untyped-def]
    """Fill `force` with the forces between all bodies.

    Return the smallest q, or infinity for more than a few bodies without jerks.
    """
    if g.size <= FEW_BODIES:
        return _few_pair_forces(bodies, g, softening_squared, force)
    return tiled_pair_forces(bodies, g, softening_squared, force)
