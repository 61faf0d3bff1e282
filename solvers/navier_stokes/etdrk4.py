"""Exponential time differencing Runge-Kutta steps of order 4 (ETDRK4), declared or adaptive."""

from __future__ import annotations

import math

import numpy as np

from solvers.contract import DivergedError
from solvers.navier_stokes import kernels
from solvers.navier_stokes.exponential_weights import weights
from solvers.navier_stokes.transform import StateTransform
from solvers.numerics.dealiased_fourier import PlaneTransform

#: The largest product of a step and the phase rate: the rate at which the flow advects the phase of a kept
#: wave. The classical Runge-Kutta method of order 4 is stable up to 2.83.
COURANT_NUMBER = 2.0

#: The largest number of consecutive rejected steps; each step is at most 0.9 times as long as the previous
#: step.
MAX_REJECTIONS = 20

#: The largest ratio of the allowed step to the current step at which the step keeps its length.
MAX_LENGTH_RATIO = 1.3

#: The number of step lengths with cached weights.
CACHED_STEPS = 8

#: The coefficients of the forcing (rows, columns), and whether each row has a nonzero coefficient.
ForcingRows = tuple[np.ndarray, np.ndarray]


class ETDRK4:
    """The ETDRK4 scheme for w_t = L w + N(w) + f, with an optional tracer besides the vorticity w.

    L is diagonal, and its integration is exact. N is the advection (`kernels`). An evaluation of N needs one
    complex transform of the velocity to the grid and one transform of the squared velocity back. A tracer
    needs two more transforms. The scheme follows equations 26 to 29 of Cox & Matthews (2002,
    doi:10.1006/jcph.2002.6995). N at the end of a step is the first stage of the next step. The same N in
    place of the last stage gives a result of order 3. The difference of both results estimates the error.

    Arrays hold this rank's kept coefficients (fields, *slabs.shape), without normalisation. All ranks call
    each method together.

    Args:
        transform: the transform of the vorticity and the optional tracer.
        time_step: the declared step, s; None for adaptive steps.
        tolerance: the allowed error of a step, relative to the root mean square of the field.
    """

    def __init__(self, transform: StateTransform, time_step: float | None, tolerance: float):
        slabs, num_fields = transform.slabs, transform.num_fields
        self._slabs = slabs
        self._scale, self._waves = transform.scale, transform.waves
        self._product_transform = PlaneTransform(slabs, num_fields)
        shape = (num_fields, *slabs.shape)
        self._state, self._stage, self._result, *tendencies = np.empty((6, *shape), complex)
        self._first_tendency, self._last_tendency, self._next_tendency = tendencies
        self._sums = np.zeros((2, num_fields))
        self._time_step = time_step
        self._tolerance = tolerance if time_step is None else math.inf
        self._rates = np.zeros((num_fields, *slabs.even_squared_wave_numbers.shape))
        self._weights: dict[float, np.ndarray] = {}

    def set_rates(self, rates: np.ndarray) -> None:
        """Set the real operator L <= 0 (1/s), even in kx: (fields, rows for kx >= 0, columns)."""
        if not np.array_equal(rates, self._rates):
            self._rates = rates
            self._weights.clear()

    def advance(
        self, state: np.ndarray, forcing: np.ndarray, duration: float, counts: dict[str, int]
    ) -> np.ndarray:
        """Return the state after `duration` (s) with a constant forcing (*slabs.shape) of the vorticity.

        The method adds the steps and the rejected steps to `counts`.

        Raises:
            DivergedError: the state is not finite, or no step is short enough.
        """
        forcing_rows = (forcing, np.any(forcing, axis=1))
        phase_rate = self._load(state, forcing_rows)
        num_steps = self._num_steps(duration, self._longest_step(phase_rate))
        step, rejections = duration / num_steps, 0
        while num_steps:
            error, phase_rate = self._try_step(step, forcing_rows)
            if error <= 1:
                self._state, self._result = self._result, self._state
                self._first_tendency, self._next_tendency = self._next_tendency, self._first_tendency
                counts["steps"] += 1
                num_steps, rejections = num_steps - 1, 0
                next_step = min(step * _step_factor(error), self._longest_step(phase_rate))
            else:
                counts["rejected_steps"] += 1
                rejections += 1
                if rejections > MAX_REJECTIONS or self._time_step is not None:
                    raise DivergedError(
                        f"a step of {step:.3g} s results in non-finite values or an error above the tolerance"
                    )
                next_step = step * _step_factor(error)
            # A step that is short enough and not much too short keeps its length, because its weights are
            # cached.
            if num_steps and not step <= next_step <= MAX_LENGTH_RATIO * step:
                remaining_time = num_steps * step
                num_steps = self._num_steps(remaining_time, next_step)
                step = remaining_time / num_steps
        return self._state.copy()

    def _load(self, state: np.ndarray, forcing_rows: ForcingRows) -> float:
        """Load a state, compute its tendency, and return the largest phase rate of a kept wave, 1/s."""
        self._state[:] = state
        kernels.velocity_coefficients(
            self._product_transform.coefficients, self._state, self._waves, self._scale
        )
        speeds = self._multiply_and_measure()
        kernels.tendency(
            self._first_tendency, self._product_transform.coefficients, forcing_rows, self._waves
        )
        rows = self._gather(*speeds, float(not np.isfinite(np.sum(state))))
        if np.any(rows[:, 2]):
            raise DivergedError("the state at the start of `advance` is not finite")
        return self._phase_rate(rows)

    def _try_step(self, step: float, forcing_rows: ForcingRows) -> tuple[float, float]:
        """Compute the result of one step and the tendency of the result.

        Returns:
            The error divided by its bound, and the largest phase rate of the result, 1/s.
        """
        weights, waves, scale = self._step_weights(step), self._waves, self._scale
        coefficients = self._product_transform.coefficients
        kernels.first_stage(
            coefficients, self._stage, self._result, self._state, self._first_tendency, weights, waves, scale
        )
        self._multiply()
        for base, first_tendency, new_weight, old_weight in (
            (self._state, self._state, 1.0, 0.0),
            (self._stage, self._first_tendency, 2.0, -1.0),
        ):
            kernels.middle_stage(
                coefficients, self._result, base, first_tendency, forcing_rows,
                weights, waves, scale, new_weight, old_weight,
            )  # fmt: skip
            self._multiply()
        kernels.last_stage(
            coefficients, self._result, self._last_tendency, forcing_rows, weights, waves, scale
        )
        speeds = self._multiply_and_measure()
        kernels.error_estimate(
            self._next_tendency, self._last_tendency, self._result, coefficients, forcing_rows,
            weights, waves, self._slabs.multiplicity, self._sums,
        )  # fmt: skip
        rows = self._gather(*speeds, *self._sums.flat)
        if not np.all(np.isfinite(rows)):
            return math.inf, math.inf
        squared_error, squared_size = np.sum(rows[:, 2:], axis=0).reshape(self._sums.shape)
        relative_errors = np.sqrt(
            np.divide(squared_error, squared_size, out=np.zeros_like(squared_error), where=squared_size > 0)
        )
        return float(np.max(relative_errors)) / self._tolerance, self._phase_rate(rows)

    def _multiply(self) -> None:
        """Replace the coefficients of a state with the coefficients of its products."""
        self._product_transform.apply_in_physical_space(kernels.multiply)

    def _multiply_and_measure(self) -> np.ndarray:
        """Call `_multiply`, and return the largest speeds along x and y (m/s); 0 m/s for a declared step."""
        speeds = np.zeros(2)

        def measure_and_multiply(block: np.ndarray) -> None:
            kernels.largest_speeds(block[0], speeds)
            kernels.multiply(block)

        self._product_transform.apply_in_physical_space(
            measure_and_multiply if self._time_step is None else kernels.multiply
        )
        return speeds

    def _gather(self, *values: float) -> np.ndarray:
        """Return the values of all ranks (ranks, values) on every rank."""
        row = np.array([values])
        communicator = self._slabs.grid.communicator
        if communicator.size == 1:
            return row
        rows = np.empty((communicator.size, len(values)))
        communicator.Allgather(row, rows)
        return rows

    def _phase_rate(self, rows: np.ndarray) -> float:
        """Return the largest phase rate of a kept wave (1/s) from the largest speeds of all ranks."""
        return float(np.max(rows[:, :2], axis=0) @ self._slabs.largest_wave_numbers)

    def _longest_step(self, phase_rate: float) -> float:
        """Return the declared step, or the longest step that the speed of the flow allows, s."""
        if self._time_step is not None:
            return self._time_step
        return COURANT_NUMBER / phase_rate if phase_rate > 0 else math.inf

    def _num_steps(self, duration: float, length: float) -> int:
        """Return the number of steps of at most `length` (s) in `duration` (s).

        The number of adaptive steps is rounded up to four binary digits. The rounding limits the number of
        different step lengths, because each length needs its own weights.
        """
        least_steps = max(math.ceil(duration / length * (1 - 1e-9)), 1)
        multiple = 1 << max(least_steps.bit_length() - 4, 0) if self._time_step is None else 1
        return -(-least_steps // multiple) * multiple

    def _step_weights(self, step: float) -> np.ndarray:
        """Return the weights of a step, cached by step length."""
        if step not in self._weights:
            if len(self._weights) == CACHED_STEPS:
                self._weights.pop(next(iter(self._weights)))
            self._weights[step] = weights(self._rates, step)
        return self._weights[step]


def _step_factor(error: float) -> float:
    """Return the ratio of the next step to the current step for an `error` relative to its bound."""
    if not math.isfinite(error):
        return 0.2
    return min(max(0.9 * error**-0.25, 0.2), 4.0) if error > 0 else 4.0
