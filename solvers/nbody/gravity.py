"""Newton's gravity with Plummer softening as a direct sum over all pairs, compiled.

    a_i = sum over j of g_j d / q^(3/2),    d = x_j - x_i,    q = |d|^2 + softening^2,    g = G m
    da_i/dt = sum over j of g_j (w / q^(3/2) - 3 (d.w) d / q^(5/2)),    w = v_j - v_i

`bodies` is (6, n): three rows of positions (m), three of velocities (m/s). A few bodies may have three more,
what rounding left of the positions, which are felt too. `g` is (n,), in m^3/s^2. `force` is (6, n), three
rows of accelerations (m/s^2) and three of their rates (m/s^3), or (3, n), the former alone.
A body does not act on itself, and bodies that coincide do not act on each other.

Each pair costs one square root and one division for both its directions. Sources lie in tiles that stay in
the first-level cache beside the force that they get; one row of a tile against one body is vectorised. Its
sums may be reassociated: on one machine they come out the same on every run.
"""

# ruff: noqa: PLR0917 - rows are loose arguments: numba passes those fastest.

from __future__ import annotations

import math

import numpy as np

from solvers.numerics.numba_cache import compiled

#: Up to so many bodies are summed pair by pair; more of them by tiles.
FEW = 12

#: Bodies in a tile. A constant, so that the compiler sees that the rows of a tile do not overlap.
TILE = 128

# Below any separation whose inverse cube is finite; it takes the place of a separation of zero.
_TINY = 1e-200

_ROW = {"inline": "never", "fastmath": {"contract", "reassoc"}}


@compiled(**_ROW)
def _accelerate(tile, count, x, y, z, g, softening2):  # type: ignore[no-untyped-def]
    """The acceleration that a tile gives one body; the tile's own is updated."""
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
def _accelerate_and_jerk(tile, count, x, y, z, vx, vy, vz, g, softening2):  # type: ignore[no-untyped-def]
    """The acceleration and its rate that a tile gives one body; the tile's own are updated, and the least q
    that each of its bodies met, but with itself.
    """
    itself = max(softening2, _TINY)
    ax = ay = az = jx = jy = jz = 0.0
    for j in range(count):
        dx, dy, dz = tile[j] - x, tile[TILE + j] - y, tile[2 * TILE + j] - z
        wx, wy, wz = tile[3 * TILE + j] - vx, tile[4 * TILE + j] - vy, tile[5 * TILE + j] - vz
        q = max(dx * dx + dy * dy + dz * dz + softening2, _TINY)
        least = tile[13 * TILE + j]
        tile[13 * TILE + j] = q if itself < q < least else least
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
def _load(tile, bodies, g, first, count):  # type: ignore[no-untyped-def]
    """Puts `count` bodies into a tile whose own force is zero."""
    for row in range(6):
        for j in range(count):
            tile[row * TILE + j] = bodies[row, first + j]
    for j in range(count):
        tile[6 * TILE + j] = g[first + j]
    tile[7 * TILE : 13 * TILE] = 0.0


@compiled()
def _meet(tile, count, bodies, g, softening2, force, first, last):  # type: ignore[no-untyped-def]
    """Adds what a tile and the bodies from `first` to `last` give each other to the force on both."""
    for i in range(first, last):
        x, y, z = bodies[0, i], bodies[1, i], bodies[2, i]
        if force.shape[0] == 3:
            ax, ay, az = _accelerate(tile, count, x, y, z, g[i], softening2)
        else:
            vx, vy, vz = bodies[3, i], bodies[4, i], bodies[5, i]
            ax, ay, az, jx, jy, jz = _accelerate_and_jerk(tile, count, x, y, z, vx, vy, vz, g[i], softening2)
            force[3, i] += jx
            force[4, i] += jy
            force[5, i] += jz
        force[0, i] += ax
        force[1, i] += ay
        force[2, i] += az


@compiled()
def attract_each_other(bodies, g, softening2, force):  # type: ignore[no-untyped-def]
    """The force of all bodies on all of them, tile by tile, into `force`; the least q with rates, else
    infinity.
    """
    num_bodies = g.size
    tile = np.full(14 * TILE, np.inf)
    force[:] = 0.0
    for first in range(0, num_bodies, TILE):
        count = min(TILE, num_bodies - first)
        _load(tile, bodies, g, first, count)
        # Within a tile each pair is met from both sides, and what the tile itself gets is dropped.
        _meet(tile, count, bodies, g, softening2, force, first, first + count)
        tile[7 * TILE : 13 * TILE] = 0.0
        _meet(tile, count, bodies, g, softening2, force, first + count, num_bodies)
        for row in range(force.shape[0]):
            for j in range(count):
                force[row, first + j] += tile[(7 + row) * TILE + j]
    return np.min(tile[13 * TILE :])


@compiled()
def attract_others(bodies, g, softening2, force, others, others_g, others_force):  # type: ignore[no-untyped-def]
    """Adds the force between two sets of bodies to `force` and `others_force`; the least q with rates, else
    infinity. A body in both sets does not act on itself.
    """
    num_others = others_g.size
    tile = np.full(14 * TILE, np.inf)
    for first in range(0, num_others, TILE):
        count = min(TILE, num_others - first)
        _load(tile, others, others_g, first, count)
        _meet(tile, count, bodies, g, softening2, force, 0, g.size)
        for row in range(force.shape[0]):
            for j in range(count):
                others_force[row, first + j] += tile[(7 + row) * TILE + j]
    return np.min(tile[13 * TILE :])


@compiled()
def _attract_pairwise(bodies, g, softening2, force):  # type: ignore[no-untyped-def]
    """The force of a few bodies on each other; the least of their q."""
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
def attract(bodies, g, softening2, force):  # type: ignore[no-untyped-def]
    """The force of all bodies on all of them; the least q, for more than a few bodies with rates alone, else
    infinity.
    """
    if g.size <= FEW:
        return _attract_pairwise(bodies, g, softening2, force)
    return attract_each_other(bodies, g, softening2, force)
