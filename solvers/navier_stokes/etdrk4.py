"""Exponential Runge-Kutta steps of fourth order, declared or adaptive."""

from __future__ import annotations

import math

import numpy as np

from solvers.contract import DivergedError
from solvers.navier_stokes import kernels
from solvers.navier_stokes.exponential_weights import weights
from solvers.navier_stokes.transform import StateTransform
from solvers.numerics.dealiased_fourier import PlaneTransform

#: The largest product of a step and the rate at which the flow turns the phase of a kept wave. The classical
#: method of order 4 is stable up to 2.83.
COURANT = 2.0

#: The most steps rejected in a row, each at most 0.9 times as long as the previous step.
MOST_REJECTIONS = 20

#: A step keeps its length while the error and the flow's speed allow at most this many times as much.
KEPT_STEP = 1.3

#: The number of lengths of step with cached weights.
CACHED_STEPS = 8

#: The coefficients of the forcing (rows, columns), and whether each row has one that is not 0.
Drive = tuple[np.ndarray, np.ndarray]


class ETDRK4:
    """Steps of w_t = L w + N(w) + f for the coefficients of the vorticity and, where there is one, a tracer.

    L is diagonal and exact in time. N is the advection: complex transforms of the velocity to the grid and of
    its square back (`kernels`); a tracer adds two. The scheme is equations 26 to 29 of Cox & Matthews (2002,
    doi:10.1006/jcph.2002.6995). N at the end of a step is the first stage of the next step. In place of the
    last stage it gives a result of order 3; the difference of both results estimates the error.

    Arrays are this rank's kept coefficients (fields, *slabs.shape), not normalised. All ranks call each
    method together.

    Args:
        transform: the coefficients of the vorticity and, where there is one, of the tracer.
        time_step: the declared step, s; None for steps from the flow's speed and the error.
        tolerance: the error that a step may make, over the root mean square of the field.
    """

    def __init__(self, transform: StateTransform, time_step: float | None, tolerance: float):
        slabs, num_fields = transform.slabs, transform.num_fields
        self._slabs = slabs
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
        """Set L (1/s): real, not positive and even in kx, (fields, *slabs.even_squared.shape)."""
        if not np.array_equal(rates, self._rates):
            self._rates = rates
            self._weights.clear()

    def advance(
        self, state: np.ndarray, forcing: np.ndarray, duration: float, counts: dict[str, int]
    ) -> np.ndarray:
        """Return the state after `duration` (s) under a constant f (*slabs.shape) on the vorticity.

        Add the steps and the rejected steps to `counts`.

        Raises:
            DivergedError: the state is not finite, or no step is short enough.
        """
        drive = (forcing, np.any(forcing, axis=1))
        phase_rate = self._start(state, drive)
        num_steps = self._num_steps(duration, self._longest_step(phase_rate))
        step, rejections = duration / num_steps, 0
        while num_steps:
            error, phase_rate = self._try(step, drive)
            if error <= 1:
                self._state, self._result = self._result, self._state
                self._first, self._following = self._following, self._first
                counts["steps"] += 1
                num_steps, rejections = num_steps - 1, 0
                next_step = min(step * _step_factor(error), self._longest_step(phase_rate))
            else:
                counts["rejected_steps"] += 1
                rejections += 1
                if rejections > MOST_REJECTIONS or self._time_step is not None:
                    raise DivergedError(f"a step of {step:.3g} s gives no finite flow of bounded error")
                next_step = step * _step_factor(error)
            # The step keeps its length while it is short enough and not much too short: its weights exist.
            if num_steps and not step <= next_step <= KEPT_STEP * step:
                rest = num_steps * step
                num_steps = self._num_steps(rest, next_step)
                step = rest / num_steps
        return self._state.copy()

    def _start(self, state: np.ndarray, drive: Drive) -> float:
        """Load a state and its tendency, and return the largest rate of phase of a kept wave, 1/s."""
        self._state[:] = state
        kernels.velocity_coefficients(self._products.coefficients, self._state, self._waves, self._scale)
        speeds = self._multiply_and_measure()
        kernels.tendency(self._first, self._products.coefficients, drive, self._waves)
        rows = self._gathered(*speeds, float(not np.isfinite(np.sum(state))))
        if np.any(rows[:, 2]):
            raise DivergedError("the state to advance from is not finite")
        return self._phase_rate(rows)

    def _try(self, step: float, drive: Drive) -> tuple[float, float]:
        """Compute the result of one step and its tendency.

        Return the error over its bound, and the largest rate of phase of the result, 1/s.
        """
        weights, waves, scale = self._step_weights(step), self._waves, self._scale
        coefficients = self._products.coefficients
        kernels.first_stage(
            coefficients, self._stage, self._result, self._state, self._first, weights, waves, scale
        )
        self._multiply()
        for base, first, new, old in (
            (self._state, self._state, 1.0, 0.0),
            (self._stage, self._first, 2.0, -1.0),
        ):
            kernels.middle_stage(
                coefficients, self._result, base, first, drive,
                weights, waves, scale, new, old,
            )  # fmt: skip
            self._multiply()
        kernels.last_stage(coefficients, self._result, self._last, drive, weights, waves, scale)
        speeds = self._multiply_and_measure()
        kernels.error_estimate(
            self._following, self._last, self._result, coefficients, drive,
            weights, waves, self._slabs.multiplicity, self._sums,
        )  # fmt: skip
        rows = self._gathered(*speeds, *self._sums.flat)
        if not np.all(np.isfinite(rows)):
            return math.inf, math.inf
        squared_error, squared_size = np.sum(rows[:, 2:], axis=0).reshape(self._sums.shape)
        relative = np.sqrt(
            np.divide(squared_error, squared_size, out=np.zeros_like(squared_error), where=squared_size > 0)
        )
        return float(np.max(relative)) / self._tolerance, self._phase_rate(rows)

    def _multiply(self) -> None:
        """Replace the coefficients of a state by the coefficients of its products."""
        self._products.through(kernels.multiply)

    def _multiply_and_measure(self) -> np.ndarray:
        """Call `_multiply`, and return the largest speeds along x and y (m/s), 0 for a declared step."""
        speeds = np.zeros(2)

        def measure_and_multiply(block: np.ndarray) -> None:
            kernels.largest_speeds(block[0], speeds)
            kernels.multiply(block)

        self._products.through(measure_and_multiply if self._time_step is None else kernels.multiply)
        return speeds

    def _gathered(self, *values: float) -> np.ndarray:
        """Return the values of every rank (ranks, values), the same on all ranks."""
        row = np.array([values])
        communicator = self._slabs.grid.communicator
        if communicator.size == 1:
            return row
        rows = np.empty((communicator.size, len(values)))
        communicator.Allgather(row, rows)
        return rows

    def _phase_rate(self, rows: np.ndarray) -> float:
        """Return the largest rate of phase of a kept wave, 1/s, from every rank's largest speeds."""
        return float(np.max(rows[:, :2], axis=0) @ self._slabs.largest)

    def _longest_step(self, phase_rate: float) -> float:
        """Return the longest step that the flow's speed allows, or the declared step, s."""
        if self._time_step is not None:
            return self._time_step
        return COURANT / phase_rate if phase_rate > 0 else math.inf

    def _num_steps(self, duration: float, length: float) -> int:
        """Return the number of steps of at most `length` in `duration`.

        The number of adaptive steps is rounded up to four binary digits, so that few lengths occur, each
        many times.
        """
        least = max(math.ceil(duration / length * (1 - 1e-9)), 1)
        unit = 1 << max(least.bit_length() - 4, 0) if self._time_step is None else 1
        return -(-least // unit) * unit

    def _step_weights(self, step: float) -> np.ndarray:
        """Return the weights of a step, cached by its length."""
        if step not in self._weights:
            if len(self._weights) == CACHED_STEPS:
                self._weights.pop(next(iter(self._weights)))
            self._weights[step] = weights(self._rates, step)
        return self._weights[step]


def _step_factor(error: float) -> float:
    """Return the factor of the next step for an `error` relative to its bound."""
    if not math.isfinite(error):
        return 0.2
    return min(max(0.9 * error**-0.25, 0.2), 4.0) if error > 0 else 4.0
