"""The pointwise work of a Navier-Stokes step, compiled: a row passes through a kernel's parts in cache.

Spectral arrays hold the vorticity first and the tracer, where there is one, second: (fields, rows, columns).
`waves` is (kx, ky, stream), with `stream` = 1 / (k^2 n) for n points, 0 at k = 0: it takes a coefficient of
the vorticity to one of the stream function whose inverse transform needs no scaling. `out` are the columns
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


# Without NaN to order, the greatest of a row is found in vectors; a NaN is seen by `assess`.
@compiled(inline="never", fastmath={"contract", "nnan", "nsz"})
def _greatest(values):  # type: ignore[no-untyped-def]
    found = 0.0
    for k in range(values.size):
        found = max(found, abs(values[k]))
    return found


@compiled()
def greatest(field):  # type: ignore[no-untyped-def]
    """The greatest magnitude in (rows, columns)."""
    found = 0.0
    for i in range(field.shape[0]):
        found = max(found, _greatest(field[i]))
    return found


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
def _begin_row(stage, result, state, tendency, half_decay, half_gain, gain):  # type: ignore[no-untyped-def]
    for j in range(state.size):
        e, q, g = half_decay[j], half_gain[j], gain[j]
        re, im = e * state[j].real, e * state[j].imag
        stage[j] = complex(re + q * tendency[j].real, im + q * tendency[j].imag)
        result[j] = complex(e * re + g * tendency[j].real, e * im + g * tendency[j].imag)


@compiled(inline="never")
def _proceed_row(  # type: ignore[no-untyped-def]
    stage, result, base, first, tendency, half_decay, half_gain, gain, new, old
):
    for j in range(base.size):
        e, q, g = half_decay[j], half_gain[j], gain[j]
        re, im = tendency[j].real, tendency[j].imag
        result[j] = complex(result[j].real + g * re, result[j].imag + g * im)
        stage[j] = complex(
            e * base[j].real + q * (new * re + old * first[j].real),
            e * base[j].imag + q * (new * im + old * first[j].imag),
        )


@compiled(inline="never")
def _conclude_row(result, tendency, gain):  # type: ignore[no-untyped-def]
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
def _full_row(i, kept_rows, all_rows):  # type: ignore[no-untyped-def]
    """The row of full columns that kept row i is."""
    return i if 2 * i < kept_rows else i + all_rows - kept_rows


@compiled()
def _emit(out, row, values, field, i, waves, scale):  # type: ignore[no-untyped-def]
    kx, ky, stream = waves
    if field == 0:
        _velocity(out[0, row], out[1, row], values, kx[i], ky, stream[i])
    else:
        _scaled(out[2, row], values, scale)


@compiled()
def _tend(tendency, products, row, forcing, field, i, waves):  # type: ignore[no-untyped-def]
    kx, ky, _ = waves
    if field == 0:
        _vorticity_tendency(tendency[0, i], products[0, row], products[1, row], forcing[i], kx[i], ky)
    else:
        _tracer_tendency(tendency[1, i], products[2, row], products[3, row], kx[i], ky)


@compiled()
def emit(out, state, waves, scale):  # type: ignore[no-untyped-def]
    """The columns `out` of a state."""
    for field in range(state.shape[0]):
        for i in range(state.shape[1]):
            row = _full_row(i, state.shape[1], out.shape[1])
            _emit(out, row, state[field, i], field, i, waves, scale)


@compiled()
def tend(tendency, products, forcing, waves):  # type: ignore[no-untyped-def]
    """The tendency from the products of a state."""
    for field in range(tendency.shape[0]):
        for i in range(tendency.shape[1]):
            row = _full_row(i, tendency.shape[1], products.shape[1])
            _tend(tendency, products, row, forcing, field, i, waves)


@compiled()
def begin(out, stage, result, state, tendency, weights, waves, scale):  # type: ignore[no-untyped-def]
    """Stage a = e w + q N(w), and the first part of the result."""
    half_decay, half_gain, gain, _, _ = weights
    for f in range(state.shape[0]):
        for i in range(state.shape[1]):
            _begin_row(
                stage[f, i], result[f, i], state[f, i], tendency[f, i],
                half_decay[f, i], half_gain[f, i], gain[f, i],
            )  # fmt: skip
            _emit(out, _full_row(i, state.shape[1], out.shape[1]), stage[f, i], f, i, waves, scale)


@compiled()
def proceed(  # type: ignore[no-untyped-def]
    out, result, base, first, tendency, products, forcing, weights, waves, scale, new, old
):
    """Stage e base + q (new N + old first), N the tendency of the last one, and N's part of the result."""
    half_decay, half_gain, _, gain, _ = weights
    stage = np.empty_like(base[0, 0])
    for f in range(base.shape[0]):
        for i in range(base.shape[1]):
            row = _full_row(i, base.shape[1], out.shape[1])
            _tend(tendency, products, row, forcing, f, i, waves)
            _proceed_row(
                stage, result[f, i], base[f, i], first[f, i], tendency[f, i],
                half_decay[f, i], half_gain[f, i], gain[f, i], new, old,
            )  # fmt: skip
            _emit(out, row, stage, f, i, waves, scale)


@compiled()
def conclude(out, result, tendency, products, forcing, weights, waves, scale):  # type: ignore[no-untyped-def]
    """The last stage's part of the result."""
    gain = weights[4]
    for f in range(result.shape[0]):
        for i in range(result.shape[1]):
            row = _full_row(i, result.shape[1], out.shape[1])
            _tend(tendency, products, row, forcing, f, i, waves)
            _conclude_row(result[f, i], tendency[f, i], gain[f, i])
            _emit(out, row, result[f, i], f, i, waves, scale)


@compiled()
def assess(  # type: ignore[no-untyped-def]
    following, tendency, result, products, forcing, weights, waves, multiplicity, sums
):
    """The tendency of the result, and for each field the squares of the error (sums[0]) and the result."""
    gain = weights[4]
    sums[:] = 0.0
    for f in range(result.shape[0]):
        for i in range(result.shape[1]):
            row = _full_row(i, result.shape[1], products.shape[1])
            _tend(following, products, row, forcing, f, i, waves)
            wrong, size = _error_row(tendency[f, i], following[f, i], result[f, i], gain[f, i], multiplicity)
            sums[0, f] += wrong
            sums[1, f] += size
