"""Newton's gravity with Plummer softening as a direct sum over all pairs, compiled.

    a_i = sum over j of g_j d / q^(3/2),    d = x_j - x_i,    q = |d|^2 + softening^2,    g = G m
    da_i/dt = sum over j of g_j (w / q^(3/2) - 3 (d.w) d / q^(5/2)),    w = v_j - v_i

Arrays of this module:
    bodies: (6, n), three rows of positions (m) and three of velocities (m/s). For a few bodies (9, n): the
        last three rows are the rounding errors of the positions, which are added to the separations.
    g: (n,), m^3/s^2.
    force: (6, n), three rows of accelerations (m/s^2) and three of their rates, the jerks (m/s^3); or (3, n),
        only the accelerations.

A body does not act on itself, and bodies at the same place do not act on each other.

Each pair costs one square root and one division for both its directions. Sources lie in tiles that stay in
the first-level cache together with their forces; the loop over the sources of a tile is vectorised. The
compiler may reorder the sums of that loop; on one machine every run gives the same bits.
"""

# ruff: noqa: PLR0917 - numba passes separate numbers faster than arrays.

from __future__ import annotations

import math

import numpy as np

from solvers.numerics.numba_cache import compiled

#: Up to this number of bodies, forces are summed pair by pair; above it, tile by tile.
FEW = 12

#: The number of bodies of a tile, a constant, so that the compiler knows that rows of a tile do not overlap.
TILE = 128

# Replaces a squared separation of zero; smaller than every squared separation with a finite inverse cube.
_TINY = 1e-200

_ROW = {"inline": "never", "fastmath": {"contract", "reassoc"}}


@compiled(**_ROW)
def _tile_accelerations(tile, count, x, y, z, g, softening2):  # type: ignore[no-untyped-def]
    """Return the acceleration of one body by a tile, and add the reactions to the tile."""
    ax = ay = az = 0.0
    for j in range(count):
        dx, dy, dz = tile[j] - x, tile[TILE + j] - y, tile[2 * TILE + j] - z
        q = max(dx * dx + dy * dy + dz * dz + softening2, _TINY)
        inverse = 1.0 / math.sqrt(q)
        cube = inverse * inverse * inverse
        pull, push = tile[6 * TILE + j] * cube, g * cube
        ax += pull * dx
        ay += pull * dy
        az += pull * dz
        tile[7 * TILE + j] -= push * dx
        tile[8 * TILE + j] -= push * dy
        tile[9 * TILE + j] -= push * dz
    return ax, ay, az


@compiled(**_ROW)
def _tile_accelerations_and_jerks(tile, count, x, y, z, vx, vy, vz, g, softening2):  # type: ignore[no-untyped-def]
    """Return acceleration and jerk of one body by a tile, and add the reactions to the tile.

    Also update the least q of each body of the tile; the q of a body with itself does not count.
    """
    own_q = max(softening2, _TINY)
    ax = ay = az = jx = jy = jz = 0.0
    for j in range(count):
        dx, dy, dz = tile[j] - x, tile[TILE + j] - y, tile[2 * TILE + j] - z
        wx, wy, wz = tile[3 * TILE + j] - vx, tile[4 * TILE + j] - vy, tile[5 * TILE + j] - vz
        q = max(dx * dx + dy * dy + dz * dz + softening2, _TINY)
        least = tile[13 * TILE + j]
        tile[13 * TILE + j] = q if own_q < q < least else least
        inverse = 1.0 / math.sqrt(q)
        square = inverse * inverse
        cube = inverse * square
        turn = -3.0 * square * (dx * wx + dy * wy + dz * wz)
        wx, wy, wz = wx + turn * dx, wy + turn * dy, wz + turn * dz
        pull, push = tile[6 * TILE + j] * cube, g * cube
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
def _add_tile_forces(tile, count, bodies, g, softening2, force, first, last):  # type: ignore[no-untyped-def]
    """Add the forces between a tile and the bodies from `first` to `last` to both."""
    for i in range(first, last):
        x, y, z = bodies[0, i], bodies[1, i], bodies[2, i]
        if force.shape[0] == 3:
            ax, ay, az = _tile_accelerations(tile, count, x, y, z, g[i], softening2)
        else:
            vx, vy, vz = bodies[3, i], bodies[4, i], bodies[5, i]
            ax, ay, az, jx, jy, jz = _tile_accelerations_and_jerks(
                tile, count, x, y, z, vx, vy, vz, g[i], softening2
            )
            force[3, i] += jx
            force[4, i] += jy
            force[5, i] += jz
        force[0, i] += ax
        force[1, i] += ay
        force[2, i] += az


@compiled()
def tiled_pair_forces(bodies, g, softening2, force):  # type: ignore[no-untyped-def]
    """Fill `force` with the forces of all bodies on each other, tile by tile.

    Return the least q where jerks are computed, else infinity.
    """
    num_bodies = g.size
    tile = np.full(14 * TILE, np.inf)
    force[:] = 0.0
    for first in range(0, num_bodies, TILE):
        count = min(TILE, num_bodies - first)
        _load_tile(tile, bodies, g, first, count)
        # Within a tile each pair is computed from both sides, so the forces stored in the tile are dropped.
        _add_tile_forces(tile, count, bodies, g, softening2, force, first, first + count)
        tile[7 * TILE : 13 * TILE] = 0.0
        _add_tile_forces(tile, count, bodies, g, softening2, force, first + count, num_bodies)
        for row in range(force.shape[0]):
            for j in range(count):
                force[row, first + j] += tile[(7 + row) * TILE + j]
    return np.min(tile[13 * TILE :])


@compiled()
def forces_between(bodies, g, softening2, force, others, others_g, others_force):  # type: ignore[no-untyped-def]
    """Add the forces between two sets of bodies to `force` and `others_force`.

    A body in both sets does not act on itself. Return the least q where jerks are computed, else infinity.
    """
    num_others = others_g.size
    tile = np.full(14 * TILE, np.inf)
    for first in range(0, num_others, TILE):
        count = min(TILE, num_others - first)
        _load_tile(tile, others, others_g, first, count)
        _add_tile_forces(tile, count, bodies, g, softening2, force, 0, g.size)
        for row in range(force.shape[0]):
            for j in range(count):
                others_force[row, first + j] += tile[(7 + row) * TILE + j]
    return np.min(tile[13 * TILE :])


@compiled()
def _few_pair_forces(bodies, g, softening2, force):  # type: ignore[no-untyped-def]
    """Fill `force` with the forces of a few bodies on each other; return the least q."""
    num_bodies = g.size
    least = np.inf
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
            q = dx * dx + dy * dy + dz * dz + softening2
            least = min(least, q)
            inverse = 1.0 / math.sqrt(max(q, _TINY))
            square = inverse * inverse
            pull, push = g[j] * inverse * square, g[i] * inverse * square
            ax += pull * dx
            ay += pull * dy
            az += pull * dz
            force[0, j] -= push * dx
            force[1, j] -= push * dy
            force[2, j] -= push * dz
            if force.shape[0] == 6:
                wx, wy, wz = bodies[3, j] - vx, bodies[4, j] - vy, bodies[5, j] - vz
                turn = -3.0 * square * (dx * wx + dy * wy + dz * wz)
                wx, wy, wz = wx + turn * dx, wy + turn * dy, wz + turn * dz
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
    return least


@compiled()
def pair_forces(bodies, g, softening2, force):  # type: ignore[no-untyped-def]
    """Fill `force` with the forces of all bodies on each other.

    Return the least q; infinity for more than a few bodies where jerks are not computed.
    """
    if g.size <= FEW:
        return _few_pair_forces(bodies, g, softening2, force)
    return tiled_pair_forces(bodies, g, softening2, force)
