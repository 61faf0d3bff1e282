"""Compiled stencils of the heat equation, and their temporal wavefront over a block.

`c0[i]` is the conductance (1/s) of the face below cell i along the first axis; `c1` and `c2` are the same
along the other axes. A level combines the array y and the array before it to the next array, which replaces
the older one:

    out = present * y + past * out + gain * A y + slope_gain * slope,    (A y)_i = sum of c (y_n - y_i)

The sum runs over the faces of cell i, and y_n is the cell on the other side. A march computes several levels
in one pass over memory: a row of level s + 1 is computed as soon as the rows around it exist on level s (a
temporal wavefront; Wellein et al. 2009, doi:10.1109/COMPSAC.2009.82). The rows between the levels then stay
in the cache. Where another block follows, each level reaches one row less into the padding.

Arguments of a march:
    even, odd: the array y and then every second level, and the array before y and the other levels.
    slope: the slope.
    faces: the conductances along each axis.
    levels: the weights (present, past, gain, slope_gain) of each level, shape (levels, 4).
    depth: the number of rows of padding; all arrays are padded as by `Grid.padded`.
    shape: the shape of the block.
    ends: whether the block ends at a wall, below and above.
    parities: the continuation beyond the ends of each axis: 0 is the other end (periodic), 1 the mirror image
        (a wall without flux), -1 its negative (a wall at temperature 0).
    uniform: the conductance along each axis where it is constant, else zeros. In two dimensions uniform
        levels read neither faces nor slope and are forward Euler steps of weights (1, 0, step, 0).
"""

# ruff: noqa: PLR0917 - numba passes rows and weights fastest as separate arguments.

from __future__ import annotations

from solvers.numerics.grid import MARGIN
from solvers.numerics.numba_cache import compiled


# Rows are compiled as separate functions: LLVM does not vectorise them when they are inlined. A row has one
# more cell at both ends than the function fills, and `out` shares no memory with the other rows.
@compiled(inline="never")
def _row_1d(out, y, slope, c0, present, past, gain, slope_gain):  # type: ignore[no-untyped-def]
    for k in range(1, y.size - 1):
        flux = c0[k + 1] * (y[k + 1] - y[k]) - c0[k] * (y[k] - y[k - 1])
        out[k] = present * y[k] + past * out[k] + gain * flux + slope_gain * slope[k]


@compiled(inline="never")
def _row_2d(  # type: ignore[no-untyped-def]
    out, y, below, above, slope, c0, c0_above, c1, present, past, gain, slope_gain
):
    for k in range(1, y.size - 1):
        flux = c0_above[k] * (above[k] - y[k]) - c0[k] * (y[k] - below[k])
        flux += c1[k + 1] * (y[k + 1] - y[k]) - c1[k] * (y[k] - y[k - 1])
        out[k] = present * y[k] + past * out[k] + gain * flux + slope_gain * slope[k]


@compiled(inline="never")
def _row_3d(  # type: ignore[no-untyped-def]
    out, y, below, above, left, right, c0, c0_above, c1, c1_right, c2, past, gain
):
    for k in range(1, y.size - 1):
        flux = c0_above[k] * (above[k] - y[k]) - c0[k] * (y[k] - below[k])
        flux += c1_right[k] * (right[k] - y[k]) - c1[k] * (y[k] - left[k])
        flux += c2[k + 1] * (y[k + 1] - y[k]) - c2[k] * (y[k] - y[k - 1])
        out[k] = past * out[k] + gain * flux


@compiled(inline="never")
def _add_row(out, y, slope, present, slope_gain):  # type: ignore[no-untyped-def]
    for k in range(1, y.size - 1):
        out[k] += present * y[k] + slope_gain * slope[k]


@compiled(inline="never")
def _uniform_row(out, y, below, above, c0, c1):  # type: ignore[no-untyped-def]
    for k in range(1, y.size - 1):
        change = c0 * (below[k] + above[k] - 2 * y[k]) + c1 * (y[k - 1] + y[k + 1] - 2 * y[k])
        out[k] = y[k] + change


@compiled(inline="never")
def _uniform_rows(out, out_above, y, below, above, further, c0, c1):  # type: ignore[no-untyped-def]
    for k in range(1, y.size - 1):
        change = c0 * (below[k] + above[k] - 2 * y[k]) + c1 * (y[k - 1] + y[k + 1] - 2 * y[k])
        out[k] = y[k] + change
        change = c0 * (y[k] + further[k] - 2 * above[k]) + c1 * (above[k - 1] + above[k + 1] - 2 * above[k])
        out_above[k] = above[k] + change


@compiled()
def _pad(cells, first, last, parity):  # type: ignore[no-untyped-def]
    if parity == 0:
        cells[first - 1], cells[last] = cells[last - 1], cells[first]
    else:
        cells[first - 1], cells[last] = parity * cells[first], parity * cells[last - 1]


@compiled()
def _layer_2d(out, y, slope, faces, i, weights, shape, parities):  # type: ignore[no-untyped-def]
    c0, c1 = faces
    a, b = MARGIN - 1, MARGIN + shape[1] + 1
    _row_2d(
        out[i, a:b], y[i, a:b], y[i - 1, a:b], y[i + 1, a:b], slope[i, a:b],
        c0[i, a:b], c0[i + 1, a:b], c1[i, a:b], weights[0], weights[1], weights[2], weights[3],
    )  # fmt: skip
    _pad(out[i], a + 1, b - 1, parities[1])


@compiled()
def _uniform_layer_2d(out, y, i, weights, shape, parities, uniform):  # type: ignore[no-untyped-def]
    a, b = MARGIN - 1, MARGIN + shape[1] + 1
    c0, c1 = weights[2] * uniform[0], weights[2] * uniform[1]
    _uniform_row(out[i, a:b], y[i, a:b], y[i - 1, a:b], y[i + 1, a:b], c0, c1)
    _pad(out[i], a + 1, b - 1, parities[1])


@compiled()
def _uniform_layers_2d(out, y, i, weights, shape, parities, uniform):  # type: ignore[no-untyped-def]
    a, b = MARGIN - 1, MARGIN + shape[1] + 1
    c0, c1 = weights[2] * uniform[0], weights[2] * uniform[1]
    _uniform_rows(
        out[i, a:b], out[i + 1, a:b], y[i, a:b], y[i - 1, a:b], y[i + 1, a:b], y[i + 2, a:b], c0, c1
    )
    _pad(out[i], a + 1, b - 1, parities[1])
    _pad(out[i + 1], a + 1, b - 1, parities[1])


@compiled()
def _layer_3d(out, y, slope, faces, i, weights, shape, parities):  # type: ignore[no-untyped-def]
    c0, c1, c2 = faces
    a, b = MARGIN - 1, MARGIN + shape[2] + 1
    for j in range(1, shape[1] + 1):
        _row_3d(
            out[i, j, a:b], y[i, j, a:b], y[i - 1, j, a:b], y[i + 1, j, a:b], y[i, j - 1, a:b],
            y[i, j + 1, a:b], c0[i, j, a:b], c0[i + 1, j, a:b], c1[i, j, a:b], c1[i, j + 1, a:b],
            c2[i, j, a:b], weights[1], weights[2],
        )  # fmt: skip
        _add_row(out[i, j, a:b], y[i, j, a:b], slope[i, j, a:b], weights[0], weights[3])
        _pad(out[i, j], a + 1, b - 1, parities[2])
    _pad(out[i], 1, shape[1] + 1, parities[1])


@compiled()
def _layers(out, y, slope, faces, first, last, weights, shape, parities, uniform):  # type: ignore[no-untyped-def]
    """Compute the layers from `first` to before `last`, one or two layers."""
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
def march(even, odd, slope, faces, levels, depth, shape, ends, parities, uniform):  # type: ignore[no-untyped-def]
    """Compute all levels on a block of two or three dimensions, two layers at a time."""
    num_levels = len(levels)
    for front in range(depth - num_levels + 1, depth + shape[0] + 2 * num_levels, 2):
        for level in range(num_levels):
            reach = num_levels - 1 - level
            first = max(front - level, depth - (0 if ends[0] else reach))
            last = min(front - level + 2, depth + shape[0] + (0 if ends[1] else reach))
            if first >= last:
                continue
            y, out = even, odd
            if level % 2 == 1:
                y, out = odd, even
            _layers(out, y, slope, faces, first, last, levels[level], shape, parities, uniform)
            if ends[0] and first <= depth < last:
                out[depth - 1] = parities[0] * out[depth]
            if ends[1] and first < depth + shape[0] == last:
                out[last] = parities[0] * out[last - 1]


@compiled()
def march_1d(even, odd, slope, faces, levels, depth, shape, ends, parities):  # type: ignore[no-untyped-def]
    """Compute all levels on a block of one dimension, one after the other."""
    num_levels = len(levels)
    for level in range(num_levels):
        reach = num_levels - 1 - level
        a = depth - 1 - (0 if ends[0] else reach)
        b = depth + shape[0] + 1 + (0 if ends[1] else reach)
        y, out = even, odd
        if level % 2 == 1:
            y, out = odd, even
        present, past, gain, slope_gain = levels[level]
        _row_1d(out[a:b], y[a:b], slope[a:b], faces[0][a:b], present, past, gain, slope_gain)
        if ends[0]:
            out[depth - 1] = parities[0] * out[depth]
        if ends[1]:
            out[depth + shape[0]] = parities[0] * out[depth + shape[0] - 1]
