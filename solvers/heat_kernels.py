"""The stencils of the heat equation, compiled.

All arrays are padded by one cell on either side of each axis. `c0[i]` is the conductance (1/s) of the face
below cell i along the first axis, `c1` and `c2` likewise. Each `sweep` computes, for every cell of a block,

    out = present * y + past * older + gain * A y + slope_gain * slope,    (A y)_i = sum of c (y_n - y_i)

over the faces of cell i, y_n the cell on the other side; then it copies the ends of periodic inner axes
into the padding. `out` shares no memory with the others.
"""

# ruff: noqa: PLR0917 - rows and weights are loose arguments: numba passes those fastest.

from __future__ import annotations

from collections.abc import Callable

from solvers.compiled import compiled


# Rows are compiled on their own: inlined into the sweeps, LLVM gives up vectorising them.
@compiled(inline="never")
def _row_1d(out, y, older, slope, c0, present, past, gain, slope_gain):  # type: ignore[no-untyped-def]
    for k in range(1, y.size - 1):
        flux = c0[k + 1] * (y[k + 1] - y[k]) - c0[k] * (y[k] - y[k - 1])
        out[k] = present * y[k] + past * older[k] + gain * flux + slope_gain * slope[k]


@compiled(inline="never")
def _row_2d(  # type: ignore[no-untyped-def]
    out, y, below, above, older, slope, c0, c0_above, c1, present, past, gain, slope_gain
):
    for k in range(1, y.size - 1):
        flux = c0_above[k] * (above[k] - y[k]) - c0[k] * (y[k] - below[k])
        flux += c1[k + 1] * (y[k + 1] - y[k]) - c1[k] * (y[k] - y[k - 1])
        out[k] = present * y[k] + past * older[k] + gain * flux + slope_gain * slope[k]


@compiled(inline="never")
def _row_3d(  # type: ignore[no-untyped-def]
    out, y, below, above, left, right, c0, c0_above, c1, c1_right, c2, gain
):
    for k in range(1, y.size - 1):
        flux = c0_above[k] * (above[k] - y[k]) - c0[k] * (y[k] - below[k])
        flux += c1_right[k] * (right[k] - y[k]) - c1[k] * (y[k] - left[k])
        flux += c2[k + 1] * (y[k + 1] - y[k]) - c2[k] * (y[k] - y[k - 1])
        out[k] = gain * flux


@compiled(inline="never")
def _combine(out, y, older, slope, present, past, slope_gain):  # type: ignore[no-untyped-def]
    for k in range(1, y.size - 1):
        out[k] += present * y[k] + past * older[k] + slope_gain * slope[k]


@compiled()
def sweep_1d(out, y, older, slope, faces, periodic, weights):  # type: ignore[no-untyped-def]
    """`out` on a one-dimensional block; the padding is the halo's."""
    present, past, gain, slope_gain = weights
    _row_1d(out, y, older, slope, faces[0], present, past, gain, slope_gain)


@compiled()
def sweep_2d(out, y, older, slope, faces, periodic, weights):  # type: ignore[no-untyped-def]
    """`out` on a two-dimensional block."""
    present, past, gain, slope_gain = weights
    c0, c1 = faces
    for i in range(1, y.shape[0] - 1):
        _row_2d(
            out[i], y[i], y[i - 1], y[i + 1], older[i], slope[i], c0[i], c0[i + 1], c1[i],
            present, past, gain, slope_gain,
        )  # fmt: skip
        if periodic[1]:
            out[i, 0], out[i, -1] = out[i, -2], out[i, 1]


@compiled()
def sweep_3d(out, y, older, slope, faces, periodic, weights):  # type: ignore[no-untyped-def]
    """`out` on a three-dimensional block."""
    present, past, gain, slope_gain = weights
    c0, c1, c2 = faces
    for i in range(1, y.shape[0] - 1):
        for j in range(1, y.shape[1] - 1):
            _row_3d(
                out[i, j], y[i, j], y[i - 1, j], y[i + 1, j], y[i, j - 1], y[i, j + 1],
                c0[i, j], c0[i + 1, j], c1[i, j], c1[i, j + 1], c2[i, j], gain,
            )  # fmt: skip
            _combine(out[i, j], y[i, j], older[i, j], slope[i, j], present, past, slope_gain)
            if periodic[2]:
                out[i, j, 0], out[i, j, -1] = out[i, j, -2], out[i, j, 1]
        if periodic[1]:
            out[i, 0], out[i, -1] = out[i, -2], out[i, 1]


SWEEPS: dict[int, Callable[..., None]] = {1: sweep_1d, 2: sweep_2d, 3: sweep_3d}
