"""Solutions of stored trajectories by other methods than those of `solvers`, in plain numpy and scipy.

Each function starts from the first stored frame and returns the solution at the stored sites and times. The
start and the coefficient fields of periodic boxes are band-limited, so their Fourier series is known from the
stored cells.

Shape letters: T times, C channels; `*cells` of the stored grid.
"""

from __future__ import annotations

import numpy as np
from scipy import integrate

#: The Courant number of the explicit schemes.
_COURANT = 0.5


def heat_in_periodic_square(
    temperature: np.ndarray, diffusivity: np.ndarray, times: np.ndarray, refinement: int = 2
) -> np.ndarray:
    """Return the temperature (T, 1, *cells) by u_t = div(k grad u) in the unit square.

    A Fourier collocation on a grid of `refinement` times as many cells, with the classical Runge-Kutta scheme
    of order 4 and steps at half of the stability limit.

    Args:
        temperature: the start u (*cells), K.
        diffusivity: k (*cells), m^2/s.
        times: the times (T,), s.
        refinement: the ratio of the numbers of cells along each axis.
    """
    cells = temperature.shape
    fine = tuple(refinement * count for count in cells)
    u = _resampled(temperature, fine)
    k = np.exp(_resampled(np.log(diffusivity), fine))
    waves = [
        2 * np.pi * np.fft.fftfreq(fine[0], 1 / fine[0]),
        2 * np.pi * np.fft.rfftfreq(fine[1], 1 / fine[1]),
    ]
    derivatives = [1j * waves[0][:, None], 1j * waves[1][None, :]]

    def rate(values: np.ndarray) -> np.ndarray:
        spectrum = np.fft.rfft2(values)
        fluxes = [k * np.fft.irfft2(factor * spectrum, fine) for factor in derivatives]
        return np.fft.irfft2(
            sum(f * np.fft.rfft2(flux) for f, flux in zip(derivatives, fluxes, strict=True)), fine
        )

    largest_rate = float(k.max()) * sum(float(np.abs(wave).max()) ** 2 for wave in waves)
    states = [temperature]
    for interval in np.diff(times):
        num_steps = int(np.ceil(interval * largest_rate / (2.78 * _COURANT)))
        for _ in range(num_steps):
            u = _runge_kutta(rate, u, interval / num_steps)
        states.append(_resampled(u, cells))
    return np.array(states)[:, None]


def decaying_flow(
    vorticity: np.ndarray, viscosity: float, times: np.ndarray, cells: int, step: float
) -> np.ndarray:
    """Return vorticity and velocity (T, 3, *cells) by w_t + u . grad w = nu Lap w in the unit square.

    A pseudo-spectral method with the 2/3 rule on `cells` x `cells`, with an integrating factor for the
    diffusion and the classical Runge-Kutta scheme of order 4.

    Args:
        vorticity: the start w (*cells), 1/s.
        viscosity: nu, m^2/s.
        times: the times (T,), s.
        cells: the number of cells along each axis.
        step: the longest step, s.
    """
    grid, stored = (cells, cells), vorticity.shape
    kx = 2 * np.pi * np.fft.fftfreq(cells, 1 / cells)[:, None]
    ky = 2 * np.pi * np.fft.rfftfreq(cells, 1 / cells)[None, :]
    squared = kx**2 + ky**2
    inverse = np.divide(1, squared, out=np.zeros_like(squared), where=squared > 0)
    is_kept = (np.abs(kx) < 2 * np.pi * cells / 3) & (ky < 2 * np.pi * cells / 3)

    def rate(spectrum: np.ndarray) -> np.ndarray:
        stream = spectrum * inverse
        u, v = (np.fft.irfft2(part, grid) for part in (1j * ky * stream, -1j * kx * stream))
        w = np.fft.irfft2(spectrum, grid)
        return -1j * is_kept * (kx * np.fft.rfft2(u * w) + ky * np.fft.rfft2(v * w))

    def fields(spectrum: np.ndarray) -> np.ndarray:
        stream = spectrum * inverse
        parts = (spectrum, 1j * ky * stream, -1j * kx * stream)
        return np.array([_resampled(np.fft.irfft2(part, grid), stored) for part in parts])

    spectrum = np.fft.rfft2(_resampled(vorticity, grid))
    states = [fields(spectrum)]
    for interval in np.diff(times):
        num_steps = int(np.ceil(interval / step))
        dt = interval / num_steps
        half = np.exp(-viscosity * squared * dt / 2)
        for _ in range(num_steps):
            a = dt * rate(spectrum)
            b = dt * rate(half * (spectrum + a / 2))
            c = dt * rate(half * spectrum + b / 2)
            d = dt * rate(half**2 * spectrum + half * c)
            spectrum = half**2 * (spectrum + a / 6) + half * (b + c) / 3 + d / 6
        states.append(fields(spectrum))
    return np.array(states)


def bodies(state: np.ndarray, masses: np.ndarray, times: np.ndarray, constant: float) -> np.ndarray:
    """Return positions and velocities (T, 2 d, n) of point masses by DOP853 with a tolerance of 1e-13.

    Args:
        state: the start (2 d, n), m and m/s.
        masses: (n,), kg.
        times: (T,), s.
        constant: the gravitational constant, m^3/(kg s^2).
    """
    dimension, num_bodies = len(state) // 2, len(masses)

    def rate(_: float, values: np.ndarray) -> np.ndarray:
        position, velocity = values.reshape(2, dimension, num_bodies)
        separation = position[:, None, :] - position[:, :, None]
        squared = np.sum(separation**2, axis=0) + np.eye(num_bodies)
        acceleration = constant * np.sum(masses * squared**-1.5 * separation, axis=2)
        return np.concatenate([velocity.ravel(), acceleration.ravel()])

    solution = integrate.solve_ivp(
        rate, (0.0, float(times[-1])), state.ravel(), "DOP853", times, rtol=1e-13, atol=1e-13
    )
    return np.moveaxis(solution.y.reshape(2 * dimension, num_bodies, len(times)), -1, 0)


def _runge_kutta(rate, values: np.ndarray, step: float) -> np.ndarray:  # type: ignore[no-untyped-def]
    a = rate(values)
    b = rate(values + step / 2 * a)
    c = rate(values + step / 2 * b)
    d = rate(values + step * c)
    result: np.ndarray = values + step / 6 * (a + 2 * b + 2 * c + d)
    return result


def _resampled(values: np.ndarray, cells: tuple[int, ...]) -> np.ndarray:
    """Return the Fourier series of values at cell centres at the centres of other cells."""
    spectrum = np.fft.fft2(values)
    result = np.zeros(cells, complex)
    waves = [
        np.arange(-((min(pair) - 1) // 2), (min(pair) - 1) // 2 + 1)
        for pair in zip(values.shape, cells, strict=True)
    ]
    shifts = [
        np.exp(-1j * np.pi * wave * (1 / own - 1 / other))
        for wave, own, other in zip(waves, values.shape, cells, strict=True)
    ]
    source, target = (
        np.ix_(*(wave % count for wave, count in zip(waves, counts, strict=True)))
        for counts in (values.shape, cells)
    )
    result[target] = spectrum[source] * np.multiply.outer(*shifts) * (np.prod(cells) / values.size)
    return np.fft.ifft2(result).real
