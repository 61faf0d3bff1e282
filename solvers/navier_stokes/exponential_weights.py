"""The weights of an ETDRK4 (exponential time differencing Runge-Kutta) step, without cancellation."""

from __future__ import annotations

import numpy as np

from solvers.numerics.numba_cache import compiled

# The factors 1 / k in the series of phi_3. The omitted terms are below round-off for |z| <= 1.
_RECIPROCALS = tuple(1 / k for k in range(4, 21))


@compiled()
def _phi(z):  # type: ignore[no-untyped-def]
    """Return exp(z), phi_1(z), phi_2(z) and phi_3(z) for z <= 0 to round-off.

    For z >= -1 the direct formulas suffer from cancellation, and the series of phi_3 replaces them.
    """
    if z < -1.0:
        phi_1 = np.expm1(z) / z
        phi_2 = (phi_1 - 1.0) / z
        return np.exp(z), phi_1, phi_2, (phi_2 - 0.5) / z
    phi_3 = 1.0
    for index in range(len(_RECIPROCALS) - 1, -1, -1):
        phi_3 = 1.0 + phi_3 * z * _RECIPROCALS[index]
    phi_3 /= 6.0
    phi_2 = z * phi_3 + 0.5
    phi_1 = z * phi_2 + 1.0
    return z * phi_1 + 1.0, phi_1, phi_2, phi_3


@compiled()
def weights(rates, step):  # type: ignore[no-untyped-def]
    """Return exp(z / 2), (h / 2) phi_1(z / 2), and the weights of N in the first, middle and last stages.

    The argument is z = h L. With phi_k of Hochbruck & Ostermann (2010, doi:10.1017/S0962492910000048), the
    last three weights are h (phi_1 - 3 phi_2 + 4 phi_3), h (2 phi_2 - 4 phi_3) and h (4 phi_3 - phi_2).

    Args:
        rates: L (1/s), (fields, rows, columns).
        step: h (s).

    Returns:
        The five weights, (fields, rows, 5, columns).
    """
    fields, rows, columns = rates.shape
    result = np.empty((fields, rows, 5, columns))
    for f in range(fields):
        for i in range(rows):
            for j in range(columns):
                z = step * rates[f, i, j]
                half_decay, half_phi_1, _, _ = _phi(z / 2)
                _, phi_1, phi_2, phi_3 = _phi(z)
                result[f, i, 0, j] = half_decay
                result[f, i, 1, j] = step / 2 * half_phi_1
                result[f, i, 2, j] = step * (phi_1 - 3 * phi_2 + 4 * phi_3)
                result[f, i, 3, j] = step * (2 * phi_2 - 4 * phi_3)
                result[f, i, 4, j] = step * (4 * phi_3 - phi_2)
    return result
