"""Implicit solves along the lines of cells of one axis.

Let A be the part of the diffusion operator along one axis. `solve` replaces x with the solution y of

    (I - a A) y = x,    (A y)_i = c_i (y_(i-1) - y_i) + c_(i+1) (y_(i+1) - y_i)

on every line along that axis. The matrix is symmetric, diagonally dominant and tridiagonal. A periodic axis
adds corner elements: the last cell is eliminated last and couples to all other cells. The last row of L in
the factorisation L D L^T is therefore full.

All arrays have the shape (cells of a line, lines). The recurrences along the lines then process contiguous
rows. `c` is the conductance (1/s) of the face below each cell, with one more row for the upper face of the
last cell. `inverse` is D^-1. `corner` is the last row of L.
"""

# ruff: noqa: PLR0917 - numba passes rows and weights faster as separate arguments.

from __future__ import annotations

import numpy as np

from solvers.numerics.numba_cache import compiled

#: The smallest nonzero element of the last row of L. Smaller elements are set to 0, because arithmetic with
#: subnormal numbers is slow.
_SMALLEST_ELEMENT = 1e-150


# Each row operation is a separate function, because LLVM vectorises separate functions.
@compiled(inline="never")
def _pivot_row(inverse, previous_inverse, c, c_above, a):  # type: ignore[no-untyped-def]
    for q in range(inverse.size):
        lower = a * c[q]
        inverse[q] = 1 / (1 + lower + a * c_above[q] - lower * lower * previous_inverse[q])


@compiled(inline="never")
def _corner_row(corner, fill, total, inverse, c_above, a, borders_last_cell):  # type: ignore[no-untyped-def]
    for q in range(inverse.size):
        upper = a * c_above[q]
        share = fill[q] + borders_last_cell * upper
        corner[q] = share * inverse[q]
        total[q] += share * corner[q]
        next_fill = fill[q] * inverse[q] * upper
        fill[q] = next_fill if next_fill > _SMALLEST_ELEMENT else 0.0


@compiled(inline="never")
def _last_pivot_row(inverse, total, c, c_above, a):  # type: ignore[no-untyped-def]
    for q in range(inverse.size):
        inverse[q] = 1 / (1 + a * (c[q] + c_above[q]) - total[q])


@compiled()
def factorise(inverse, corner, c, a, periodic):  # type: ignore[no-untyped-def]
    """Fill `inverse`, and also `corner` for a periodic axis."""
    last = len(inverse) - 1
    previous_inverse = np.zeros(inverse.shape[1])
    for i in range(last + 1):
        _pivot_row(inverse[i], previous_inverse, c[i], c[i + 1], a)
        previous_inverse = inverse[i]
    if periodic:
        fill, total = a * c[0], np.zeros(inverse.shape[1])
        for i in range(last):
            _corner_row(corner[i], fill, total, inverse[i], c[i + 1], a, 1.0 if i == last - 1 else 0.0)
        _last_pivot_row(inverse[last], total, c[last], c[last + 1], a)


@compiled(inline="never")
def _forward_row(x, below, c, inverse, a):  # type: ignore[no-untyped-def]
    for q in range(x.size):
        x[q] = inverse[q] * (x[q] + a * c[q] * below[q])


@compiled(inline="never")
def _forward_row_periodic(x, below, total, c, inverse, corner, a):  # type: ignore[no-untyped-def]
    for q in range(x.size):
        right = x[q] + a * c[q] * below[q]
        total[q] += corner[q] * right
        x[q] = inverse[q] * right


@compiled(inline="never")
def _last_rows(x, below, total, inverse, corner):  # type: ignore[no-untyped-def]
    # The second-to-last cell couples to the last cell through `corner` only.
    for q in range(x.size):
        x[q] = inverse[q] * (x[q] + total[q])
        below[q] += corner[q] * x[q]


@compiled(inline="never")
def _backward_row(x, above, c_above, inverse, a):  # type: ignore[no-untyped-def]
    for q in range(x.size):
        x[q] += a * c_above[q] * inverse[q] * above[q]


@compiled(inline="never")
def _backward_row_periodic(x, above, last, c_above, inverse, corner, a):  # type: ignore[no-untyped-def]
    for q in range(x.size):
        x[q] += a * c_above[q] * inverse[q] * above[q] + corner[q] * last[q]


@compiled()
def solve(x, inverse, corner, c, a, periodic):  # type: ignore[no-untyped-def]
    """Replace `x` with the solution."""
    last, total = len(x) - 1, np.zeros(x.shape[1])
    if periodic:
        below = np.zeros(x.shape[1])
        for i in range(last):
            _forward_row_periodic(x[i], below, total, c[i], inverse[i], corner[i], a)
            below = x[i]
        _last_rows(x[last], x[last - 1], total, inverse[last], corner[last - 1])
        for i in range(last - 2, -1, -1):
            _backward_row_periodic(x[i], x[i + 1], x[last], c[i + 1], inverse[i], corner[i], a)
    else:
        below = total
        for i in range(last + 1):
            _forward_row(x[i], below, c[i], inverse[i], a)
            below = x[i]
        for i in range(last - 1, -1, -1):
            _backward_row(x[i], x[i + 1], c[i + 1], inverse[i], a)
