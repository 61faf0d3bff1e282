"""Exponential Runge-Kutta steps of fourth order, declared or adaptive."""

from __future__ import annotations

import math

import numpy as np

from solvers.contract import DivergedError
from solvers.navier_stokes import kernels
from solvers.navier_stokes.transform import StateTransform
from solvers.numerics.dealiased_fourier import PlaneTransform
from solvers.numerics.numba_cache import compiled

#: A step is at most this over the largest rate at which the flow turns the phase of a kept wave; the
#: classical method of order 4 is stable up to 2.83.
COURANT = 2.0

#: So many steps in a row may be rejected, each at most 0.9 times as long as the one before.
MOST_REJECTIONS = 20

#: A step is kept until one this many times as long would do.
KEPT_STEP = 1.3

#: So many lengths of step have their weights kept.
CACHED_STEPS = 8

Drive = tuple[np.ndarray, np.ndarray]


class ETDRK4:
    """Steps w_t = L w + N(w) + f for the coefficients of the vorticity and, where there is one, a tracer.

    L is diagonal and exact in time. N is the advection, by two complex transforms, of the velocity back and
    of its square forth (`navier_stokes_kernels`); a tracer adds two. The scheme is that of Cox & Matthews
    (2002, doi:10.1006/jcph.2002.6995), equations 26 to 29. N at the end of a step is the first stage of the
    next; in place of the last stage it makes a result of order 3, and the difference estimates the error.

    Arrays are this rank's compact coefficients (fields, *slabs.shape), not normalised. Every rank calls
    together.

    Args:
        transform: the coefficients of the vorticity and, where there is one, of the tracer.
        time_step: declared step, s; None for steps that the flow's speed and the error set.
        tolerance: error that a step may make, over the root mean square of the field.
    """

    def __init__(self, transform: StateTransform, time_step: float | None, tolerance: float):
        slabs, num_fields = transform.slabs, transform.num_fields
        self.slabs = slabs
        self._scale, self._waves = transform.scale, transform.waves
        self._products = PlaneTransform(slabs, num_fields)
        shape = (num_fields, *slabs.shape)
        self._state, self._stage, self._result, *tendencies = np.empty((6, *shape), complex)
        self._first, self._last, self._following = tendencies
        self._sums = np.zeros((2, num_fields))
        self._time_step = time_step
        self._tolerance = tolerance if time_step is None else math.inf
        self._rates = np.zeros((num_fields, *slabs.even_squared.shape))
        self._weights: dict[float, np.ndarray] = {}

    def set_rates(self, rates: np.ndarray) -> None:
        """Takes L (1/s), real, not positive and even in kx: (fields, *slabs.even_squared.shape)."""
        if not np.array_equal(rates, self._rates):
            self._rates = rates
            self._weights.clear()

    def advance(
        self, state: np.ndarray, forcing: np.ndarray, duration: float, counts: dict[str, int]
    ) -> np.ndarray:
        """Return the state after `duration` (s) under a constant f (*slabs.shape) on the vorticity.

        Adds the steps and the rejected steps to `counts`.

        Raises:
            DivergedError: the state is not finite, or no step is short enough.
        """
        drive = (forcing, np.any(forcing, axis=1))
        speed = self._start(state, drive)
        num_steps = self._num_steps(duration, self._longest(speed))
        step, rejections = duration / num_steps, 0
        while num_steps:
            error, speed = self._try(step, drive)
            if error <= 1:
                self._state, self._result = self._result, self._state
                self._first, self._following = self._following, self._first
                counts["steps"] += 1
                num_steps, rejections = num_steps - 1, 0
                wanted = min(step * _factor(error), self._longest(speed))
            else:
                counts["rejected_steps"] += 1
                rejections += 1
                if rejections > MOST_REJECTIONS or self._time_step is not None:
                    raise DivergedError(f"a step of {step:.3g} s gives no finite flow of bounded error")
                wanted = step * _factor(error)
            # A step stays while it is short enough and not much too short: its weights are there.
            if num_steps and not step <= wanted <= KEPT_STEP * step:
                rest = num_steps * step
                num_steps = self._num_steps(rest, wanted)
                step = rest / num_steps
        return self._state.copy()

    def _start(self, state: np.ndarray, drive: Drive) -> float:
        """Loads a state and its tendency; the rate (1/s) at which it turns the phase of a kept wave."""
        self._state[:] = state
        kernels.emit(self._products.coefficients, self._state, self._waves, self._scale)
        speeds = self._advect_measured()
        kernels.tend(self._first, self._products.coefficients, drive, self._waves)
        found = self._shared(*speeds, float(not np.isfinite(np.sum(state))))
        if np.any(found[:, 2]):
            raise DivergedError("the state to advance from is not finite")
        return self._turning(found)

    def _try(self, step: float, drive: Drive) -> tuple[float, float]:
        """The result of one step and its tendency: its error over the bound, and its rate as `_start`'s."""
        weights, waves, scale = self._weights_of(step), self._waves, self._scale
        coefficients = self._products.coefficients
        kernels.begin(
            coefficients, self._stage, self._result, self._state, self._first, weights, waves, scale
        )
        self._advect()
        for base, first, new, old in (
            (self._state, self._state, 1.0, 0.0),
            (self._stage, self._first, 2.0, -1.0),
        ):
            kernels.proceed(
                coefficients, self._result, base, first, drive,
                weights, waves, scale, new, old,
            )  # fmt: skip
            self._advect()
        kernels.conclude(coefficients, self._result, self._last, drive, weights, waves, scale)
        speeds = self._advect_measured()
        kernels.assess(
            self._following, self._last, self._result, coefficients, drive,
            weights, waves, self.slabs.multiplicity, self._sums,
        )  # fmt: skip
        found = self._shared(*speeds, *self._sums.flat)
        if not np.all(np.isfinite(found)):
            return math.inf, math.inf
        wrong, size = np.sum(found[:, 2:], axis=0).reshape(self._sums.shape)
        relative = np.sqrt(np.divide(wrong, size, out=np.zeros_like(wrong), where=size > 0))
        return float(np.max(relative)) / self._tolerance, self._turning(found)

    def _advect(self) -> None:
        """Takes the coefficients of a state to those of its products."""
        self._products.through(kernels.multiply)

    def _advect_measured(self) -> np.ndarray:
        """Likewise; the largest speeds along x and y, which a declared step does not need."""
        speeds = np.zeros(2)

        def measured(block: np.ndarray) -> None:
            kernels.largest(block[0], speeds)
            kernels.multiply(block)

        self._products.through(measured if self._time_step is None else kernels.multiply)
        return speeds

    def _shared(self, *numbers: float) -> np.ndarray:
        """The numbers of every rank (ranks, numbers), the same on all."""
        mine = np.array([numbers])
        if self.slabs.grid.communicator.size == 1:
            return mine
        found = np.empty((self.slabs.grid.communicator.size, len(numbers)))
        self.slabs.grid.communicator.Allgather(mine, found)
        return found

    def _turning(self, found: np.ndarray) -> float:
        """The largest rate of phase, 1/s, from every rank's largest speeds."""
        return float(np.max(found[:, :2], axis=0) @ self.slabs.largest)

    def _longest(self, turning: float) -> float:
        """The longest step that the flow's speed allows, or the declared one."""
        if self._time_step is not None:
            return self._time_step
        return COURANT / turning if turning > 0 else math.inf

    def _num_steps(self, duration: float, length: float) -> int:
        """Steps of at most `length` in `duration`; their own are rounded up to four binary digits, so that
        few lengths are met, again and again.
        """
        least = max(math.ceil(duration / length * (1 - 1e-9)), 1)
        unit = 1 << max(least.bit_length() - 4, 0) if self._time_step is None else 1
        return -(-least // unit) * unit

    def _weights_of(self, step: float) -> np.ndarray:
        if step not in self._weights:
            if len(self._weights) == CACHED_STEPS:
                self._weights.pop(next(iter(self._weights)))
            self._weights[step] = weights(self._rates, step)
        return self._weights[step]


# 1 / k for the series of phi_3, whose terms are below round-off at |z| = 1 beyond the last.
_RECIPROCALS = tuple(1 / number for number in range(4, 21))


@compiled()
def _phi(z):  # type: ignore[no-untyped-def]
    """exp(z), phi_1(z), phi_2(z) and phi_3(z) for z <= 0 to round-off: from the series of phi_3 where the
    differences of the direct formulas cancel.
    """
    if z < -1.0:
        one = np.expm1(z) / z
        two = (one - 1.0) / z
        return np.exp(z), one, two, (two - 0.5) / z
    three = 1.0
    for number in range(len(_RECIPROCALS) - 1, -1, -1):
        three = 1.0 + three * z * _RECIPROCALS[number]
    three /= 6.0
    two = z * three + 0.5
    one = z * two + 1.0
    return z * one + 1.0, one, two, three


@compiled()
def weights(rates, step):  # type: ignore[no-untyped-def]
    """exp(z / 2), (h / 2) phi_1(z / 2), and the weights of N in the first, the middle two and the last stage.

    With z = h L and phi_k of Hochbruck & Ostermann (2010, doi:10.1017/S0962492910000048), the last three are
    h (phi_1 - 3 phi_2 + 4 phi_3), h (2 phi_2 - 4 phi_3) and h (4 phi_3 - phi_2). For L of shape (fields,
    rows, columns) they have the shape (fields, rows, 5, columns).
    """
    fields, rows, columns = rates.shape
    found = np.empty((fields, rows, 5, columns))
    for f in range(fields):
        for i in range(rows):
            for j in range(columns):
                z = step * rates[f, i, j]
                half_decay, half_one, _, _ = _phi(z / 2)
                _, one, two, three = _phi(z)
                found[f, i, 0, j] = half_decay
                found[f, i, 1, j] = step / 2 * half_one
                found[f, i, 2, j] = step * (one - 3 * two + 4 * three)
                found[f, i, 3, j] = step * (2 * two - 4 * three)
                found[f, i, 4, j] = step * (4 * three - two)
    return found


def _factor(error: float) -> float:
    """By how much to change a step whose error over its bound is `error`."""
    if not math.isfinite(error):
        return 0.2
    return min(max(0.9 * error**-0.25, 0.2), 4.0) if error > 0 else 4.0
