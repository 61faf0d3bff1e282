"""Compiled pointwise operations of a Navier-Stokes step, row by row to reuse the cache.

The complex velocity z = u + i v has the coefficients z(kx, ky) = k w / |k|^2 for k = kx + i ky. Let Z be the
coefficients of z^2, and S the coefficients of z s. The tendencies have the coefficients

    -u . grad w:  (conj(k)^2 Z(kx, ky) - k^2 conj(Z(-kx, -ky))) / 4i
    -u . grad s:  (conj(k) S(kx, ky) + k conj(S(-kx, -ky))) / 2i.

The first line equals (kx^2 - ky^2) F(u v) + kx ky F(v^2 - u^2) with the Fourier transform F (Basdevant 1983,
doi:10.1016/0021-9991(83)90045-1).

Spectral arrays (fields, rows, columns) hold the vorticity and, second, an optional tracer:

coefficients: the coefficients of a `PlaneTransform`, either of z and s or of z^2 and z s.
waves: the tuple (kx, ky, stream). `stream` is 1 / (|k|^2 n) for n points, and 0 at k = 0. The factor 1 / n
    replaces the scaling of the inverse transform.
weights: the weights of `exponential_weights`. The weights and `stream` are even in kx, and hold only the rows
    with kx >= 0.
forcing_rows: the forcing of the vorticity (rows, columns), and whether each row has a nonzero coefficient.
"""

# ruff: noqa: PLR0917 - numba passes rows and weights faster as separate arguments.

from __future__ import annotations

import numpy as np

from solvers.numerics.numba_cache import compiled


@compiled(inline="never")
def _square_row(z):  # type: ignore[no-untyped-def]
    for k in range(z.size):
        u, v = z[k].real, z[k].imag
        z[k] = complex((u - v) * (u + v), 2.0 * u * v)


@compiled(inline="never")
def _product_row(s, z):  # type: ignore[no-untyped-def]
    for k in range(z.size):
        s[k] = complex(z[k].real * s[k].real, z[k].imag * s[k].real)


@compiled()
def multiply(physical):  # type: ignore[no-untyped-def]
    """Replace z and an optional s with z^2 and z s in place, fields (1 or 2, rows, columns)."""
    for i in range(physical.shape[1]):
        if physical.shape[0] == 2:
            _product_row(physical[1, i], physical[0, i])
        _square_row(physical[0, i])


# The bits of non-negative floats, as integers, have the same order as the floats, with NaN last. Comparisons
# of integers are vectorised.
@compiled(inline="never")
def _largest_magnitudes(bits):  # type: ignore[no-untyped-def]
    mask = np.int64(0x7FFFFFFFFFFFFFFF)
    largest_u, largest_v = np.int64(0), np.int64(0)
    for k in range(bits.size // 2):
        largest_u = max(largest_u, bits[2 * k] & mask)
        largest_v = max(largest_v, bits[2 * k + 1] & mask)
    return largest_u, largest_v


@compiled()
def largest_speeds(z, speeds):  # type: ignore[no-untyped-def]
    """Increase `speeds` (2,) to the largest magnitudes of u and v in z (rows, columns)."""
    bits = speeds.view(np.int64)
    for i in range(z.shape[0]):
        u, v = _largest_magnitudes(z[i].view(np.int64))
        bits[0], bits[1] = max(bits[0], u), max(bits[1], v)


@compiled(inline="never")
def _vorticity_tendency_row(tendency, plus, minus, kx, ky):  # type: ignore[no-untyped-def]
    for j in range(ky.size):
        a, b = 0.25 * (kx * kx - ky[j] * ky[j]), 0.5 * kx * ky[j]
        tendency[j] = complex(
            a * (plus[j].imag + minus[j].imag) - b * (plus[j].real + minus[j].real),
            a * (minus[j].real - plus[j].real) + b * (minus[j].imag - plus[j].imag),
        )


@compiled(inline="never")
def _add_row(total, values):  # type: ignore[no-untyped-def]
    for j in range(values.size):
        total[j] += values[j]


@compiled(inline="never")
def _tracer_tendency_row(tendency, plus, minus, kx, ky):  # type: ignore[no-untyped-def]
    for j in range(ky.size):
        a, b = 0.5 * kx, 0.5 * ky[j]
        tendency[j] = complex(
            a * (plus[j].imag - minus[j].imag) - b * (plus[j].real - minus[j].real),
            -a * (plus[j].real + minus[j].real) - b * (plus[j].imag + minus[j].imag),
        )


@compiled(inline="never")
def _velocity_row(plus, minus, vorticity, kx, ky, stream):  # type: ignore[no-untyped-def]
    for j in range(ky.size):
        re, im = stream[j] * vorticity[j].real, stream[j] * vorticity[j].imag
        a, b, c, d = kx * re, ky[j] * im, kx * im, ky[j] * re
        plus[j] = complex(a - b, c + d)
        minus[j] = complex(-a - b, c - d)


@compiled(inline="never")
def _tracer_row(plus, minus, values, factor):  # type: ignore[no-untyped-def]
    for j in range(values.size):
        re, im = factor * values[j].real, factor * values[j].imag
        plus[j] = complex(re, im)
        minus[j] = complex(re, -im)


@compiled(inline="never")
def _first_stage_row(stage, result, state, tendency, weights):  # type: ignore[no-untyped-def]
    half_decay, half_gain, gain = weights[0], weights[1], weights[2]
    for j in range(state.size):
        e, q, g = half_decay[j], half_gain[j], gain[j]
        re, im = e * state[j].real, e * state[j].imag
        stage[j] = complex(re + q * tendency[j].real, im + q * tendency[j].imag)
        result[j] = complex(e * re + g * tendency[j].real, e * im + g * tendency[j].imag)


@compiled(inline="never")
def _middle_stage_row(stage, base, first_tendency, tendency, weights, new_weight, old_weight):  # type: ignore[no-untyped-def]
    half_decay, half_gain = weights[0], weights[1]
    for j in range(base.size):
        e, q = half_decay[j], half_gain[j]
        stage[j] = complex(
            e * base[j].real + q * (new_weight * tendency[j].real + old_weight * first_tendency[j].real),
            e * base[j].imag + q * (new_weight * tendency[j].imag + old_weight * first_tendency[j].imag),
        )


@compiled(inline="never")
def _result_row(result, tendency, gain):  # type: ignore[no-untyped-def]
    for j in range(result.size):
        g = gain[j]
        result[j] = complex(result[j].real + g * tendency[j].real, result[j].imag + g * tendency[j].imag)


# The compiler may reorder the sums. The order is the same in every run.
@compiled(inline="never", fastmath={"contract", "reassoc"})
def _error_row(tendency, next_tendency, result, gain, multiplicity):  # type: ignore[no-untyped-def]
    squared_error, squared_size = 0.0, 0.0
    for j in range(result.size):
        g = gain[j] * gain[j] * multiplicity[j]
        re, im = next_tendency[j].real - tendency[j].real, next_tendency[j].imag - tendency[j].imag
        squared_error += g * (re * re + im * im)
        squared_size += multiplicity[j] * (result[j].real * result[j].real + result[j].imag * result[j].imag)
    return squared_error, squared_size


@compiled()
def _full_row(i, num_kept_rows, num_all_rows):  # type: ignore[no-untyped-def]
    """Return the row of the full columns that holds the kept row i."""
    return i if 2 * i < num_kept_rows else i + num_all_rows - num_kept_rows


@compiled()
def _even_row(i, num_kept_rows):  # type: ignore[no-untyped-def]
    """Return the row with kx >= 0 that holds the values of row i, for an array that is even in kx."""
    return i if 2 * i < num_kept_rows else num_kept_rows - i


@compiled()
def _coefficients_row(coefficients, values, f, i, waves, scale):  # type: ignore[no-untyped-def]
    kx, ky, stream = waves
    row = _full_row(i, kx.size, coefficients.shape[2])
    if f == 0:
        _velocity_row(
            coefficients[0, 0, row], coefficients[0, 1, row], values, kx[i], ky, stream[_even_row(i, kx.size)]
        )
    else:
        _tracer_row(coefficients[1, 0, row], coefficients[1, 1, row], values, scale)


@compiled()
def _tendency_row(tendency, coefficients, forcing_rows, f, i, waves):  # type: ignore[no-untyped-def]
    (kx, ky, _), (forcing, is_forced) = waves, forcing_rows
    row = _full_row(i, kx.size, coefficients.shape[2])
    if f == 0:
        _vorticity_tendency_row(tendency, coefficients[0, 0, row], coefficients[0, 1, row], kx[i], ky)
        if is_forced[i]:
            _add_row(tendency, forcing[i])
    else:
        _tracer_tendency_row(tendency, coefficients[1, 0, row], coefficients[1, 1, row], kx[i], ky)


@compiled()
def velocity_coefficients(coefficients, state, waves, scale):  # type: ignore[no-untyped-def]
    """Write the coefficients of z and of the tracer to `coefficients`."""
    for f in range(state.shape[0]):
        for i in range(state.shape[1]):
            _coefficients_row(coefficients, state[f, i], f, i, waves, scale)


@compiled()
def tendency(result, coefficients, forcing_rows, waves):  # type: ignore[no-untyped-def]
    """Write the tendency to `result`, from the coefficients of the products."""
    for f in range(result.shape[0]):
        for i in range(result.shape[1]):
            _tendency_row(result[f, i], coefficients, forcing_rows, f, i, waves)


@compiled()
def first_stage(coefficients, stage, result, state, first_tendency, weights, waves, scale):  # type: ignore[no-untyped-def]
    """Write the stage e w + q N(w), its coefficients, and the first part of the result.

    `first_tendency` is N(w).
    """
    for f in range(state.shape[0]):
        for i in range(state.shape[1]):
            row_weights = weights[f, _even_row(i, state.shape[1])]
            _first_stage_row(stage[f, i], result[f, i], state[f, i], first_tendency[f, i], row_weights)
            _coefficients_row(coefficients, stage[f, i], f, i, waves, scale)


@compiled()
def middle_stage(  # type: ignore[no-untyped-def]
    coefficients, result, base, first_tendency, forcing_rows, weights, waves, scale, new_weight, old_weight
):
    """Add the tendency N of the last stage to the result, and write the coefficients of the next stage.

    The next stage is e base + q (new_weight N + old_weight first_tendency).
    """
    stage, tendency = np.empty_like(base[0, 0]), np.empty_like(base[0, 0])
    for f in range(base.shape[0]):
        for i in range(base.shape[1]):
            row_weights = weights[f, _even_row(i, base.shape[1])]
            _tendency_row(tendency, coefficients, forcing_rows, f, i, waves)
            _middle_stage_row(
                stage, base[f, i], first_tendency[f, i], tendency, row_weights, new_weight, old_weight
            )
            _result_row(result[f, i], tendency, row_weights[3])
            _coefficients_row(coefficients, stage, f, i, waves, scale)


@compiled()
def last_stage(coefficients, result, last_tendency, forcing_rows, weights, waves, scale):  # type: ignore[no-untyped-def]
    """Write the last tendency, add the tendency to the result, and write the coefficients of the result."""
    for f in range(result.shape[0]):
        for i in range(result.shape[1]):
            _tendency_row(last_tendency[f, i], coefficients, forcing_rows, f, i, waves)
            _result_row(result[f, i], last_tendency[f, i], weights[f, _even_row(i, result.shape[1]), 4])
            _coefficients_row(coefficients, result[f, i], f, i, waves, scale)


@compiled()
def error_estimate(  # type: ignore[no-untyped-def]
    next_tendency, last_tendency, result, coefficients, forcing_rows, weights, waves, multiplicity, sums
):
    """Write the tendency of the result to `next_tendency`, and the squared norms to `sums`.

    `sums` (2, fields) holds this rank's sums of the squared error (row 0) and of the squared result (row 1).
    """
    sums[:] = 0.0
    for f in range(result.shape[0]):
        for i in range(result.shape[1]):
            gain = weights[f, _even_row(i, result.shape[1]), 4]
            _tendency_row(next_tendency[f, i], coefficients, forcing_rows, f, i, waves)
            squared_error, squared_size = _error_row(
                last_tendency[f, i], next_tendency[f, i], result[f, i], gain, multiplicity
            )
            sums[0, f] += squared_error
            sums[1, f] += squared_size
