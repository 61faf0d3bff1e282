"""The pointwise work of a Navier-Stokes step, compiled: a row passes through a kernel's parts in cache.

Spectral arrays hold the vorticity first and the tracer, where there is one, second: (fields, rows, columns).
`waves` is (kx, ky, stream), with `stream` = 1 / (k^2 n) for n points, 0 at k = 0: it takes a coefficient of
the vorticity to one of the stream function whose inverse transform needs no scaling. `stream` and the
`weights` of `navier_stokes_etdrk4` are even in kx and have the rows with kx >= 0 alone. `out` are the columns
of u, v and the tracer for the inverse transform and `products` those of u v, v^2 - u^2, u s and v s from the
forward one, both with all rows; the spectral arrays have the kept rows alone.
"""

# ruff: noqa: PLR0917 - rows and weights are loose arguments: numba passes those fastest.

from __future__ import annotations

import numpy as np

from solvers.compiled import compiled


@compiled(inline="never")
def _multiply(u, v):  # type: ignore[no-untyped-def]
    for k in range(u.size):
        x, y = u[k], v[k]
        u[k] = x * y
        v[k] = (y - x) * (y + x)


@compiled(inline="never")
def _flux(u, v, s, last):  # type: ignore[no-untyped-def]
    for k in range(u.size):
        last[k] = v[k] * s[k]
        s[k] = u[k] * s[k]


@compiled()
def multiply(physical):  # type: ignore[no-untyped-def]
    """u, v (and s) in place to u v, v^2 - u^2 (and u s, v s), fields (2 or 4, rows, columns)."""
    for i in range(physical.shape[1]):
        if physical.shape[0] == 4:
            _flux(physical[0, i], physical[1, i], physical[2, i], physical[3, i])
        _multiply(physical[0, i], physical[1, i])


@compiled(inline="never")
def _vorticity_tendency(tendency, uv, difference, forcing, kx, ky):  # type: ignore[no-untyped-def]
    for j in range(ky.size):
        across, both = kx * kx - ky[j] * ky[j], kx * ky[j]
        tendency[j] = complex(
            across * uv[j].real + both * difference[j].real + forcing[j].real,
            across * uv[j].imag + both * difference[j].imag + forcing[j].imag,
        )


@compiled(inline="never")
def _tracer_tendency(tendency, us, vs, kx, ky):  # type: ignore[no-untyped-def]
    for j in range(ky.size):
        tendency[j] = complex(kx * us[j].imag + ky[j] * vs[j].imag, -kx * us[j].real - ky[j] * vs[j].real)


@compiled(inline="never")
def _velocity(u, v, vorticity, kx, ky, stream):  # type: ignore[no-untyped-def]
    for j in range(ky.size):
        re, im = stream[j] * vorticity[j].real, stream[j] * vorticity[j].imag
        u[j] = complex(-ky[j] * im, ky[j] * re)
        v[j] = complex(kx * im, -kx * re)


@compiled(inline="never")
def _scaled(out, values, factor):  # type: ignore[no-untyped-def]
    for j in range(values.size):
        out[j] = complex(factor * values[j].real, factor * values[j].imag)


@compiled(inline="never")
def _begin_row(stage, result, state, tendency, weights):  # type: ignore[no-untyped-def]
    half_decay, half_gain, gain = weights[0], weights[1], weights[2]
    for j in range(state.size):
        e, q, g = half_decay[j], half_gain[j], gain[j]
        re, im = e * state[j].real, e * state[j].imag
        stage[j] = complex(re + q * tendency[j].real, im + q * tendency[j].imag)
        result[j] = complex(e * re + g * tendency[j].real, e * im + g * tendency[j].imag)


@compiled(inline="never")
def _stage_row(stage, base, first, tendency, weights, new, old):  # type: ignore[no-untyped-def]
    half_decay, half_gain = weights[0], weights[1]
    for j in range(base.size):
        e, q = half_decay[j], half_gain[j]
        stage[j] = complex(
            e * base[j].real + q * (new * tendency[j].real + old * first[j].real),
            e * base[j].imag + q * (new * tendency[j].imag + old * first[j].imag),
        )


@compiled(inline="never")
def _result_row(result, tendency, gain):  # type: ignore[no-untyped-def]
    for j in range(result.size):
        g = gain[j]
        result[j] = complex(result[j].real + g * tendency[j].real, result[j].imag + g * tendency[j].imag)


# The sums need no set order to be the same on every run.
@compiled(inline="never", fastmath={"contract", "reassoc"})
def _error_row(tendency, following, result, gain, multiplicity):  # type: ignore[no-untyped-def]
    wrong, size = 0.0, 0.0
    for j in range(result.size):
        g = gain[j] * gain[j] * multiplicity[j]
        re, im = following[j].real - tendency[j].real, following[j].imag - tendency[j].imag
        wrong += g * (re * re + im * im)
        size += multiplicity[j] * (result[j].real * result[j].real + result[j].imag * result[j].imag)
    return wrong, size


@compiled()
def _full(i, kept_rows, all_rows):  # type: ignore[no-untyped-def]
    """The row of full columns that kept row i is."""
    return i if 2 * i < kept_rows else i + all_rows - kept_rows


@compiled()
def _even(i, kept_rows):  # type: ignore[no-untyped-def]
    """The row, of those with kx >= 0, that has the values of row i in what is even in kx."""
    return i if 2 * i < kept_rows else kept_rows - i


@compiled()
def _emit(out, values, f, i, waves, scale):  # type: ignore[no-untyped-def]
    kx, ky, stream = waves
    row = _full(i, kx.size, out.shape[1])
    if f == 0:
        _velocity(out[0, row], out[1, row], values, kx[i], ky, stream[_even(i, kx.size)])
    else:
        _scaled(out[2, row], values, scale)


@compiled()
def _tend(tendency, products, forcing, f, i, waves):  # type: ignore[no-untyped-def]
    kx, ky, _ = waves
    row = _full(i, kx.size, products.shape[1])
    if f == 0:
        _vorticity_tendency(tendency, products[0, row], products[1, row], forcing[i], kx[i], ky)
    else:
        _tracer_tendency(tendency, products[2, row], products[3, row], kx[i], ky)


@compiled()
def emit(out, state, waves, scale):  # type: ignore[no-untyped-def]
    """The columns `out` of a state."""
    for f in range(state.shape[0]):
        for i in range(state.shape[1]):
            _emit(out, state[f, i], f, i, waves, scale)


@compiled()
def tend(tendency, products, forcing, waves):  # type: ignore[no-untyped-def]
    """The tendency from the products of a state."""
    for f in range(tendency.shape[0]):
        for i in range(tendency.shape[1]):
            _tend(tendency[f, i], products, forcing, f, i, waves)


@compiled()
def begin(out, stage, result, state, first, weights, waves, scale):  # type: ignore[no-untyped-def]
    """Stage e w + q N(w), with `first` = N(w), and the first part of the result."""
    for f in range(state.shape[0]):
        for i in range(state.shape[1]):
            row_weights = weights[f, _even(i, state.shape[1])]
            _begin_row(stage[f, i], result[f, i], state[f, i], first[f, i], row_weights)
            _emit(out, stage[f, i], f, i, waves, scale)


@compiled()
def proceed(  # type: ignore[no-untyped-def]
    out, result, base, first, products, forcing, weights, waves, scale, new, old
):
    """Stage e base + q (new N + old first), N the tendency of the last stage, and N's part of the result."""
    stage, tendency = np.empty_like(base[0, 0]), np.empty_like(base[0, 0])
    for f in range(base.shape[0]):
        for i in range(base.shape[1]):
            row_weights = weights[f, _even(i, base.shape[1])]
            _tend(tendency, products, forcing, f, i, waves)
            _stage_row(stage, base[f, i], first[f, i], tendency, row_weights, new, old)
            _result_row(result[f, i], tendency, row_weights[3])
            _emit(out, stage, f, i, waves, scale)


@compiled()
def conclude(out, result, last, products, forcing, weights, waves, scale):  # type: ignore[no-untyped-def]
    """The tendency of the last stage, and its part of the result."""
    for f in range(result.shape[0]):
        for i in range(result.shape[1]):
            _tend(last[f, i], products, forcing, f, i, waves)
            _result_row(result[f, i], last[f, i], weights[f, _even(i, result.shape[1]), 4])
            _emit(out, result[f, i], f, i, waves, scale)


@compiled()
def assess(  # type: ignore[no-untyped-def]
    following, last, result, products, forcing, weights, waves, multiplicity, sums
):
    """The tendency of the result, and for each field the squares of the error (sums[0]) and the result."""
    sums[:] = 0.0
    for f in range(result.shape[0]):
        for i in range(result.shape[1]):
            gain = weights[f, _even(i, result.shape[1]), 4]
            _tend(following[f, i], products, forcing, f, i, waves)
            wrong, size = _error_row(last[f, i], following[f, i], result[f, i], gain, multiplicity)
            sums[0, f] += wrong
            sums[1, f] += size
