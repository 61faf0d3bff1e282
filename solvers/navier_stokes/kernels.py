"""The pointwise work of a Navier-Stokes step, compiled: a row passes through a kernel's parts in cache.

Velocity is the complex z = u + i v. With k = kx + i ky its coefficients are z(kx, ky) = k w / |k|^2, and
those of -u . grad w are (conj(k)^2 Z(kx, ky) - k^2 conj(Z(-kx, -ky))) / 4i, Z the coefficients of z^2: it is
(kx^2 - ky^2) F(u v) + kx ky F(v^2 - u^2) (Basdevant 1983, doi:10.1016/0021-9991(83)90045-1). Those of
-u . grad s are (conj(k) S(kx, ky) + k conj(S(-kx, -ky))) / 2i, S the coefficients of z s.

Spectral arrays hold the vorticity first and the tracer, where there is one, second: (fields, rows, columns).
`coefficients` are those of `fourier.PlaneTransform`, of z and s or of z^2 and z s. `waves` is (kx, ky,
stream), with `stream` = 1 / (|k|^2 n) for n points, 0 at k = 0, so that the inverse transform needs no
scaling. `stream` and the `weights` of `navier_stokes_etdrk4` are even in kx and have the rows with kx >= 0
alone. `drive` is the forcing of the vorticity (rows, columns), and which of its rows are not 0.
"""

# ruff: noqa: PLR0917 - rows and weights are loose arguments: numba passes those fastest.

from __future__ import annotations

import numpy as np

from solvers.numerics.numba_cache import compiled


@compiled(inline="never")
def _square(z):  # type: ignore[no-untyped-def]
    for k in range(z.size):
        u, v = z[k].real, z[k].imag
        z[k] = complex((u - v) * (u + v), 2.0 * u * v)


@compiled(inline="never")
def _product(s, z):  # type: ignore[no-untyped-def]
    for k in range(z.size):
        s[k] = complex(z[k].real * s[k].real, z[k].imag * s[k].real)


@compiled()
def multiply(physical):  # type: ignore[no-untyped-def]
    """Takes z (and s) in place to z^2 (and z s), fields (1 or 2, rows, columns)."""
    for i in range(physical.shape[1]):
        if physical.shape[0] == 2:
            _product(physical[1, i], physical[0, i])
        _square(physical[0, i])


# Of numbers without sign the bits are ordered as they are, NaN last; and whole numbers compare in vectors.
@compiled(inline="never")
def _largest_bits(bits):  # type: ignore[no-untyped-def]
    mask = np.int64(0x7FFFFFFFFFFFFFFF)
    first, second = np.int64(0), np.int64(0)
    for k in range(bits.size // 2):
        first = max(first, bits[2 * k] & mask)
        second = max(second, bits[2 * k + 1] & mask)
    return first, second


@compiled()
def largest(z, found):  # type: ignore[no-untyped-def]
    """Raises `found` (2,) to the largest magnitudes of u and v in z (rows, columns)."""
    bits = found.view(np.int64)
    for i in range(z.shape[0]):
        u, v = _largest_bits(z[i].view(np.int64))
        bits[0], bits[1] = max(bits[0], u), max(bits[1], v)


@compiled(inline="never")
def _vorticity_tendency(tendency, plus, minus, kx, ky):  # type: ignore[no-untyped-def]
    for j in range(ky.size):
        a, b = 0.25 * (kx * kx - ky[j] * ky[j]), 0.5 * kx * ky[j]
        tendency[j] = complex(
            a * (plus[j].imag + minus[j].imag) - b * (plus[j].real + minus[j].real),
            a * (minus[j].real - plus[j].real) + b * (minus[j].imag - plus[j].imag),
        )


@compiled(inline="never")
def _add(total, values):  # type: ignore[no-untyped-def]
    for j in range(values.size):
        total[j] += values[j]


@compiled(inline="never")
def _tracer_tendency(tendency, plus, minus, kx, ky):  # type: ignore[no-untyped-def]
    for j in range(ky.size):
        a, b = 0.5 * kx, 0.5 * ky[j]
        tendency[j] = complex(
            a * (plus[j].imag - minus[j].imag) - b * (plus[j].real - minus[j].real),
            -a * (plus[j].real + minus[j].real) - b * (plus[j].imag + minus[j].imag),
        )


@compiled(inline="never")
def _velocity(plus, minus, vorticity, kx, ky, stream):  # type: ignore[no-untyped-def]
    for j in range(ky.size):
        re, im = stream[j] * vorticity[j].real, stream[j] * vorticity[j].imag
        a, b, c, d = kx * re, ky[j] * im, kx * im, ky[j] * re
        plus[j] = complex(a - b, c + d)
        minus[j] = complex(-a - b, c - d)


@compiled(inline="never")
def _both(plus, minus, values, factor):  # type: ignore[no-untyped-def]
    for j in range(values.size):
        re, im = factor * values[j].real, factor * values[j].imag
        plus[j] = complex(re, im)
        minus[j] = complex(re, -im)


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
def _emit(coefficients, values, f, i, waves, scale):  # type: ignore[no-untyped-def]
    kx, ky, stream = waves
    row = _full(i, kx.size, coefficients.shape[2])
    if f == 0:
        _velocity(
            coefficients[0, 0, row], coefficients[0, 1, row], values, kx[i], ky, stream[_even(i, kx.size)]
        )
    else:
        _both(coefficients[1, 0, row], coefficients[1, 1, row], values, scale)


@compiled()
def _tend(tendency, coefficients, drive, f, i, waves):  # type: ignore[no-untyped-def]
    (kx, ky, _), (forcing, forced) = waves, drive
    row = _full(i, kx.size, coefficients.shape[2])
    if f == 0:
        _vorticity_tendency(tendency, coefficients[0, 0, row], coefficients[0, 1, row], kx[i], ky)
        if forced[i]:
            _add(tendency, forcing[i])
    else:
        _tracer_tendency(tendency, coefficients[1, 0, row], coefficients[1, 1, row], kx[i], ky)


@compiled()
def emit(coefficients, state, waves, scale):  # type: ignore[no-untyped-def]
    """The coefficients of z and the tracer of a state."""
    for f in range(state.shape[0]):
        for i in range(state.shape[1]):
            _emit(coefficients, state[f, i], f, i, waves, scale)


@compiled()
def tend(tendency, coefficients, drive, waves):  # type: ignore[no-untyped-def]
    """The tendency from the products of a state."""
    for f in range(tendency.shape[0]):
        for i in range(tendency.shape[1]):
            _tend(tendency[f, i], coefficients, drive, f, i, waves)


@compiled()
def begin(coefficients, stage, result, state, first, weights, waves, scale):  # type: ignore[no-untyped-def]
    """Stage e w + q N(w), with `first` = N(w), and the first part of the result."""
    for f in range(state.shape[0]):
        for i in range(state.shape[1]):
            row_weights = weights[f, _even(i, state.shape[1])]
            _begin_row(stage[f, i], result[f, i], state[f, i], first[f, i], row_weights)
            _emit(coefficients, stage[f, i], f, i, waves, scale)


@compiled()
def proceed(  # type: ignore[no-untyped-def]
    coefficients, result, base, first, drive, weights, waves, scale, new, old
):
    """Stage e base + q (new N + old first), N the tendency of the last stage, and N's part of the result."""
    stage, tendency = np.empty_like(base[0, 0]), np.empty_like(base[0, 0])
    for f in range(base.shape[0]):
        for i in range(base.shape[1]):
            row_weights = weights[f, _even(i, base.shape[1])]
            _tend(tendency, coefficients, drive, f, i, waves)
            _stage_row(stage, base[f, i], first[f, i], tendency, row_weights, new, old)
            _result_row(result[f, i], tendency, row_weights[3])
            _emit(coefficients, stage, f, i, waves, scale)


@compiled()
def conclude(coefficients, result, last, drive, weights, waves, scale):  # type: ignore[no-untyped-def]
    """The tendency of the last stage, and its part of the result."""
    for f in range(result.shape[0]):
        for i in range(result.shape[1]):
            _tend(last[f, i], coefficients, drive, f, i, waves)
            _result_row(result[f, i], last[f, i], weights[f, _even(i, result.shape[1]), 4])
            _emit(coefficients, result[f, i], f, i, waves, scale)


@compiled()
def assess(  # type: ignore[no-untyped-def]
    following, last, result, coefficients, drive, weights, waves, multiplicity, sums
):
    """The tendency of the result, and for each field the squares of the error (sums[0]) and the result."""
    sums[:] = 0.0
    for f in range(result.shape[0]):
        for i in range(result.shape[1]):
            gain = weights[f, _even(i, result.shape[1]), 4]
            _tend(following[f, i], coefficients, drive, f, i, waves)
            wrong, size = _error_row(last[f, i], following[f, i], result[f, i], gain, multiplicity)
            sums[0, f] += wrong
            sums[1, f] += size
