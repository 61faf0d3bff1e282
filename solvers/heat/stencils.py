"""Compiled stencils of the heat equation, with a temporal wavefront over a block.

`c0[i]` is the conductance (1/s) of the face below cell i along the first axis. `c1` and `c2` are the
conductances along the other axes. A level combines the array y and the previous array `out` to the next
array, which overwrites `out`:

    out = y_weight * y + older_weight * out + gain * A y + slope_gain * slope,    (A y)_i = sum of c (y_n -
    y_i)

The sum runs over the faces of cell i; y_n is the value of the neighbouring cell. A march computes several
levels in one pass over memory. A row of level s + 1 is computed as soon as its neighbouring rows exist on
level s (temporal wavefront; Wellein et al. 2009, doi:10.1109/COMPSAC.2009.82). The rows between the levels
then stay in the cache. At the border to another block, each level computes one ghost row less than the
previous level.

Arguments of a march:
    even_levels: the array y at the start, later the arrays of the even levels.
    odd_levels: the array before y at the start, later the arrays of the odd levels.
    slope: the array `slope` of the recurrence.
    faces: the conductances along each axis.
    levels: the weights (y_weight, older_weight, gain, slope_gain) of each level, shape (levels, 4).
    depth: the number of padding rows; `Grid.padded_array` defines the padding of all arrays.
    shape: the shape of the block.
    ends: whether the block ends at a wall below, and at a wall above.
    parities: the continuation beyond the ends of each axis: 0 for the opposite end (periodic), 1 for the
        mirror image (a wall without flux), -1 for the negative mirror image (a wall at temperature 0).
    uniform: the constant conductance along each axis, or zeros for a variable conductance. In two dimensions
        uniform levels are forward Euler steps of weights (1, 0, step, 0) that read neither faces nor slope.
"""

# ruff: noqa: PLR0917 - numba passes rows and weights faster as separate arguments.

from __future__ import annotations

from solvers.numerics.grid import MARGIN
from solvers.numerics.numba_cache import compiled


# Each row operation is a separate function, because LLVM does not vectorise inlined functions. The rows have
# one ghost cell at both ends. `out` shares no memory with the other rows.
@compiled(inline="never")
def _row_1d(out, y, slope, c0, y_weight, older_weight, gain, slope_gain):  # type: ignore[no-untyped-def]
    for k in range(1, y.size - 1):
        flux = c0[k + 1] * (y[k + 1] - y[k]) - c0[k] * (y[k] - y[k - 1])
        out[k] = y_weight * y[k] + older_weight * out[k] + gain * flux + slope_gain * slope[k]


@compiled(inline="never")
def _row_2d(  # type: ignore[no-untyped-def]
    out, y, below, above, slope, c0, c0_above, c1, y_weight, older_weight, gain, slope_gain
):
    for k in range(1, y.size - 1):
        flux = c0_above[k] * (above[k] - y[k]) - c0[k] * (y[k] - below[k])
        flux += c1[k + 1] * (y[k + 1] - y[k]) - c1[k] * (y[k] - y[k - 1])
        out[k] = y_weight * y[k] + older_weight * out[k] + gain * flux + slope_gain * slope[k]


@compiled(inline="never")
def _row_3d(  # type: ignore[no-untyped-def]
    out, y, below, above, left, right, c0, c0_above, c1, c1_right, c2, older_weight, gain
):
    for k in range(1, y.size - 1):
        flux = c0_above[k] * (above[k] - y[k]) - c0[k] * (y[k] - below[k])
        flux += c1_right[k] * (right[k] - y[k]) - c1[k] * (y[k] - left[k])
        flux += c2[k + 1] * (y[k + 1] - y[k]) - c2[k] * (y[k] - y[k - 1])
        out[k] = older_weight * out[k] + gain * flux


@compiled(inline="never")
def _add_row(out, y, slope, y_weight, slope_gain):  # type: ignore[no-untyped-def]
    for k in range(1, y.size - 1):
        out[k] += y_weight * y[k] + slope_gain * slope[k]


@compiled(inline="never")
def _uniform_row(out, y, below, above, c0, c1):  # type: ignore[no-untyped-def]
    for k in range(1, y.size - 1):
        change = c0 * (below[k] + above[k] - 2 * y[k]) + c1 * (y[k - 1] + y[k + 1] - 2 * y[k])
        out[k] = y[k] + change


@compiled(inline="never")
def _uniform_rows(out, out_above, y, below, above, second_above, c0, c1):  # type: ignore[no-untyped-def]
    for k in range(1, y.size - 1):
        change = c0 * (below[k] + above[k] - 2 * y[k]) + c1 * (y[k - 1] + y[k + 1] - 2 * y[k])
        out[k] = y[k] + change
        change = c0 * (y[k] + second_above[k] - 2 * above[k]) + c1 * (
            above[k - 1] + above[k + 1] - 2 * above[k]
        )
        out_above[k] = above[k] + change


@compiled()
def _copy_row(rows, source, factor, target):  # type: ignore[no-untyped-def]
    """Fill a row of up to two dimensions with a multiple of another row.

    numba compiles loops in milliseconds, and the assignment of an array for two seconds.
    """
    if rows.ndim == 1:
        rows[target] = factor * rows[source]
    elif rows.ndim == 2:
        for j in range(rows.shape[1]):
            rows[target, j] = factor * rows[source, j]
    else:
        for j in range(rows.shape[1]):
            for k in range(rows.shape[2]):
                rows[target, j, k] = factor * rows[source, j, k]


@compiled()
def _pad(cells, first, last, parity):  # type: ignore[no-untyped-def]
    if parity == 0:
        _copy_row(cells, last - 1, 1.0, first - 1)
        _copy_row(cells, first, 1.0, last)
    else:
        _copy_row(cells, first, parity, first - 1)
        _copy_row(cells, last - 1, parity, last)


@compiled()
def _layer_2d(out, y, slope, faces, i, weights, shape, parities):  # type: ignore[no-untyped-def]
    c0, c1 = faces
    start, stop = MARGIN - 1, MARGIN + shape[1] + 1
    _row_2d(
        out[i, start:stop], y[i, start:stop], y[i - 1, start:stop], y[i + 1, start:stop],
        slope[i, start:stop], c0[i, start:stop], c0[i + 1, start:stop], c1[i, start:stop],
        weights[0], weights[1], weights[2], weights[3],
    )  # fmt: skip
    _pad(out[i], start + 1, stop - 1, parities[1])


@compiled()
def _uniform_layer_2d(out, y, i, weights, shape, parities, uniform):  # type: ignore[no-untyped-def]
    start, stop = MARGIN - 1, MARGIN + shape[1] + 1
    c0, c1 = weights[2] * uniform[0], weights[2] * uniform[1]
    _uniform_row(out[i, start:stop], y[i, start:stop], y[i - 1, start:stop], y[i + 1, start:stop], c0, c1)
    _pad(out[i], start + 1, stop - 1, parities[1])


@compiled()
def _uniform_layers_2d(out, y, i, weights, shape, parities, uniform):  # type: ignore[no-untyped-def]
    start, stop = MARGIN - 1, MARGIN + shape[1] + 1
    c0, c1 = weights[2] * uniform[0], weights[2] * uniform[1]
    _uniform_rows(
        out[i, start:stop],
        out[i + 1, start:stop],
        y[i, start:stop],
        y[i - 1, start:stop],
        y[i + 1, start:stop],
        y[i + 2, start:stop],
        c0,
        c1,
    )
    _pad(out[i], start + 1, stop - 1, parities[1])
    _pad(out[i + 1], start + 1, stop - 1, parities[1])


@compiled()
def _layer_3d(out, y, slope, faces, i, weights, shape, parities):  # type: ignore[no-untyped-def]
    c0, c1, c2 = faces
    start, stop = MARGIN - 1, MARGIN + shape[2] + 1
    for j in range(1, shape[1] + 1):
        _row_3d(
            out[i, j, start:stop], y[i, j, start:stop], y[i - 1, j, start:stop], y[i + 1, j, start:stop],
            y[i, j - 1, start:stop], y[i, j + 1, start:stop], c0[i, j, start:stop], c0[i + 1, j, start:stop],
            c1[i, j, start:stop], c1[i, j + 1, start:stop], c2[i, j, start:stop], weights[1], weights[2],
        )  # fmt: skip
        _add_row(out[i, j, start:stop], y[i, j, start:stop], slope[i, j, start:stop], weights[0], weights[3])
        _pad(out[i, j], start + 1, stop - 1, parities[2])
    _pad(out[i], 1, shape[1] + 1, parities[1])


@compiled()
def _layers(out, y, slope, faces, first, last, weights, shape, parities, uniform):  # type: ignore[no-untyped-def]
    """Compute one or two layers, from `first` to `last - 1`."""
    if out.ndim == 3:
        for i in range(first, last):
            _layer_3d(out, y, slope, faces, i, weights, shape, parities)
    elif uniform[0] == 0:
        for i in range(first, last):
            _layer_2d(out, y, slope, faces, i, weights, shape, parities)
    elif last - first == 2:
        _uniform_layers_2d(out, y, first, weights, shape, parities, uniform)
    else:
        _uniform_layer_2d(out, y, first, weights, shape, parities, uniform)


@compiled()
def march(even_levels, odd_levels, slope, faces, levels, depth, shape, ends, parities, uniform):  # type: ignore[no-untyped-def]
    """Compute all levels on a block of two or three dimensions, two layers at a time."""
    num_levels = len(levels)
    for front in range(depth - num_levels + 1, depth + shape[0] + 2 * num_levels, 2):
        for level in range(num_levels):
            num_ghost_rows = num_levels - 1 - level
            first = max(front - level, depth - (0 if ends[0] else num_ghost_rows))
            last = min(front - level + 2, depth + shape[0] + (0 if ends[1] else num_ghost_rows))
            if first >= last:
                continue
            y, out = even_levels, odd_levels
            if level % 2 == 1:
                y, out = odd_levels, even_levels
            _layers(out, y, slope, faces, first, last, levels[level], shape, parities, uniform)
            if ends[0] and first <= depth < last:
                _copy_row(out, depth, parities[0], depth - 1)
            if ends[1] and first < depth + shape[0] == last:
                _copy_row(out, last - 1, parities[0], last)


@compiled()
def march_1d(even_levels, odd_levels, slope, faces, levels, depth, shape, ends, parities):  # type: ignore[no-untyped-def]
    """Compute all levels on a block of one dimension, one after the other."""
    num_levels = len(levels)
    for level in range(num_levels):
        num_ghost_rows = num_levels - 1 - level
        start = depth - 1 - (0 if ends[0] else num_ghost_rows)
        stop = depth + shape[0] + 1 + (0 if ends[1] else num_ghost_rows)
        y, out = even_levels, odd_levels
        if level % 2 == 1:
            y, out = odd_levels, even_levels
        y_weight, older_weight, gain, slope_gain = levels[level]
        _row_1d(
            out[start:stop],
            y[start:stop],
            slope[start:stop],
            faces[0][start:stop],
            y_weight,
            older_weight,
            gain,
            slope_gain,
        )
        if ends[0]:
            out[depth - 1] = parities[0] * out[depth]
        if ends[1]:
            out[depth + shape[0]] = parities[0] * out[depth + shape[0] - 1]
