"""Explicit schemes for any diffusivity: RKL2 super-time-stepping and forward Euler."""

from __future__ import annotations

import math
from abc import abstractmethod

import numpy as np

from solvers.contract import DivergedError
from solvers.heat.operator import DiffusionOperator, WallTerms
from solvers.heat.schemes.scheme import Scheme, check_shorter_step

#: The largest number of stages in one step, because round-off grows with the number of stages.
MAX_STAGES = 199

#: The round-off error of the error estimate, relative to the root mean square temperature.
_ROUND_OFF = 1e-10


class ExplicitScheme(Scheme):
    """A scheme that only evaluates the right side, and tracks the supplied heat on request."""

    def __init__(self, operator: DiffusionOperator, walls: WallTerms):
        self.operator = operator
        self.grid = operator.grid
        self.walls = walls
        self._interior = operator.interior
        self._state, self._slope = operator.padded_array(), operator.padded_array()
        self._source: np.ndarray | None = None

    @abstractmethod
    def _march(self, duration: float, track_heat: bool) -> float:
        """Advance `_state` by `duration` (s).

        Return the heat supplied to this rank's cells (K, summed over cells) with `track_heat`, else 0.
        """

    def advance(self, temperature: np.ndarray, source: np.ndarray | None, duration: float) -> np.ndarray:
        """Return the temperature (K) after `duration`, see `Scheme.advance`."""
        self._load(temperature, source)
        self._march(duration, track_heat=False)
        return self._state[self._interior].copy()

    def heat_supplied(self, temperature: np.ndarray, source: np.ndarray | None, duration: float) -> float:
        """Return the supplied heat (K m^d), see `Scheme.heat_supplied`."""
        self._load(temperature, source)
        local_heat = self._march(duration, track_heat=True)
        return float(self.grid.sum_over_ranks(local_heat)[0]) * self.grid.cell_volume

    def _load(self, temperature: np.ndarray, source: np.ndarray | None) -> None:
        """Write the temperature and the source into the padded arrays."""
        self.operator.load(self._state, temperature)
        self._slope.fill(0.0)
        self._source = None
        if source is not None:
            self._source = self.operator.padded_array()
            self.operator.load(self._source, source)

    def _source_supply(self) -> float:
        """Return the supply of the source to this rank's cells (K/s, summed over cells)."""
        return 0.0 if self._source is None else float(np.sum(self._source[self._interior]))

    def _wall_loss(self, padded: np.ndarray) -> float:
        """Return the loss of this rank's cells at the walls (K/s, summed over cells)."""
        return float(np.sum(self.walls.loss * padded[self._interior]))


class ForwardEuler(ExplicitScheme):
    """The forward Euler scheme u + tau (A u + s) of first order, a baseline for benchmarks.

    The scheme is stable up to tau = 2 / rho with the spectral radius rho. Without `time_step` (s) the step is
    0.9 of this limit.
    """

    def __init__(self, operator: DiffusionOperator, walls: WallTerms, time_step: float | None):
        super().__init__(operator, walls)
        self.time_step = time_step

    def _march(self, duration: float, track_heat: bool) -> float:
        stable_limit = 2 / self.operator.spectral_bound
        longest_step = self.time_step or 0.9 * stable_limit
        if not longest_step <= stable_limit * (1 + 1e-9):
            raise DivergedError(
                f"the time step {longest_step:.3g} s exceeds the stable limit {stable_limit:.3g} s of "
                "forward Euler for the diffusivity of this trajectory"
            )
        num_steps = math.ceil(duration / longest_step * (1 - 1e-12))
        step = duration / num_steps
        levels = np.tile([1.0, 0.0, step, step], (num_steps, 1))
        if not track_heat:
            self._state, self._slope = self.operator.march(self._state, self._slope, self._source, levels)
            return 0.0
        supplied_heat = self._source_supply() * duration
        for level in levels:
            supplied_heat -= step * self._wall_loss(self._state)
            self._state, self._slope = self.operator.march(
                self._state, self._slope, self._source, level[None]
            )
        return supplied_heat


class SuperTimeStepping(ExplicitScheme):
    """The stabilised Runge-Kutta-Legendre scheme of second order (RKL2).

    A step tau of s stages (s odd) is stable up to tau rho = (s^2 + s - 2) / 2 with the spectral radius rho.
    In comparison, s steps of Euler reach tau rho = 2 s. RKL2 is thus about s / 4 times faster (Meyer, Balsara
    & Aslam 2014, doi:10.1016/j.jcp.2013.08.021, equations 16 to 19). Without `time_step` (s) the error of
    each step is at most `tolerance` times the standard deviation of the temperature over the box. The error
    estimate is that of Sommeijer, Shampine & Verwer (1998, doi:10.1016/S0377-0427(97)00219-7) with the
    constant of RKL2.
    """

    def __init__(
        self, operator: DiffusionOperator, walls: WallTerms, time_step: float | None, tolerance: float
    ):
        super().__init__(operator, walls)
        self.time_step = time_step
        self.tolerance = tolerance
        self._trial_state, self._trial_slope = operator.padded_array(), operator.padded_array()
        self._changes = operator.padded_array(), operator.padded_array()
        self._zero_source = operator.padded_array()

    def _march(self, duration: float, track_heat: bool) -> float:
        longest_step = largest_product(MAX_STAGES) / self.operator.spectral_bound
        if not longest_step > 0:
            raise DivergedError("the diffusivity is not finite")
        next_step = min(self.time_step or duration, longest_step)
        remaining_time, supplied_heat = duration, 0.0
        self._evaluate(self._slope, self._state)
        while remaining_time > 0:
            num_steps = math.ceil(remaining_time / next_step * (1 - 1e-12))
            step = remaining_time / num_steps
            num_stages = least_stable_stages(step * self.operator.spectral_bound)
            heat = self._try_step(step, num_stages, track_heat)
            if self.time_step is None:
                error_ratio = self._error(step, num_stages)
                next_step = min(step * min(5.0, max(0.2, 0.8 * error_ratio ** (-1 / 3))), longest_step)
                if error_ratio > 1:
                    check_shorter_step(
                        next_step, step, error_ratio, self.tolerance, self.operator.spectral_bound
                    )
                    continue
            self._state, self._trial_state = self._trial_state, self._state
            self._slope, self._trial_slope = self._trial_slope, self._slope
            remaining_time *= (num_steps - 1) / num_steps
            supplied_heat += heat
        return supplied_heat

    def _try_step(self, step: float, num_stages: int, track_heat: bool) -> float:
        """Fill the trial state and slope; return the heat supplied to this rank's cells if tracked.

        The recurrence holds for the change D_j = Y_j - Y_0. The relation A Y + s = A D + slope removes Y_0
        and s from the recurrence.
        """
        w_1 = 4 / (num_stages**2 + num_stages - 2)
        change, older = self._changes
        np.multiply(self._slope, w_1 / 3 * step, out=change)
        older.fill(0.0)
        levels, heat = _recurrence(num_stages, w_1 * step), 0.0
        if track_heat:
            slope_rate = self._source_supply() - self._wall_loss(self._state)
            older_heat, heat = 0.0, w_1 / 3 * step * slope_rate
            for level in levels:
                y_weight, older_weight, gain, slope_gain = level
                next_heat = y_weight * heat + older_weight * older_heat
                next_heat += slope_gain * slope_rate - gain * self._wall_loss(change)
                change, older = self.operator.march(change, older, self._slope, level[None])
                older_heat, heat = heat, next_heat
        else:
            change, older = self.operator.march(change, older, self._slope, levels)
        self._changes = change, older
        np.add(self._state, change, out=self._trial_state)
        self._evaluate(self._trial_slope, self._trial_state)
        return heat

    def _evaluate(self, out: np.ndarray, y: np.ndarray) -> None:
        """Set out = A y + s, and fill the padding of `out`."""
        out.fill(0.0)
        source = self._zero_source if self._source is None else self._source
        self.operator.march(y, out, source, np.array([[0.0, 0.0, 1.0, 1.0]]))
        self.operator.exchange(out)

    def _error(self, step: float, num_stages: int) -> float:
        """Return the estimated error of the step divided by the allowed error.

        The error of the trapezoidal rule is tau^3 u_ttt / 12. The error of the step is c tau^3 u_ttt with c =
        `constant`. The sum of both errors is u_n - u_(n+1) + tau (u_t,n + u_t,n+1) / 2 = (1 / 12 + c) tau^3
        u_ttt.
        """
        interior = self._interior
        temperature, trial_temperature = self._state[interior], self._trial_state[interior]
        product = num_stages**2 + num_stages
        constant = 1 / 6 - (product - 6) / (9 * (product - 2))
        estimate = (
            temperature - trial_temperature + step / 2 * (self._slope[interior] + self._trial_slope[interior])
        )
        sums = self.grid.sum_over_ranks(
            np.sum(estimate**2),
            *(np.sum(u) for u in (temperature, trial_temperature)),
            *(np.sum(u**2) for u in (temperature, trial_temperature)),
        )
        error, *moments = sums / math.prod(self.grid.resolution)
        error = constant / (1 / 12 + constant) * math.sqrt(error)
        mean_square = max(moments[2:])
        variance = max(moments[2] - moments[0] ** 2, moments[3] - moments[1] ** 2, 0.0)
        allowed_error = self.tolerance * math.sqrt(variance) + _ROUND_OFF * math.sqrt(mean_square)
        if not math.isfinite(error + allowed_error):
            raise DivergedError(f"the temperature is not finite after a step of {step:.3g} s")
        return max(error / allowed_error, 1e-6) if error > 0 else 1e-6


def largest_product(num_stages: int) -> float:
    """Return the largest stable product of the step and the spectral radius."""
    return (num_stages**2 + num_stages - 2) / 2


def least_stable_stages(product: float) -> int:
    """Return the smallest stable odd number of stages, at least 3.

    `product` is the product of the step and the spectral radius.
    """
    least_stages = math.ceil((math.sqrt(9 + 8 * product) - 1) / 2 * (1 - 1e-12))
    return max(3, least_stages + 1 - least_stages % 2)


def _recurrence(num_stages: int, scaled_step: float) -> np.ndarray:
    """Return the weights of the stages 2 to s, see `DiffusionOperator.march`; `scaled_step` is w_1 tau."""
    levels = []
    for stage in range(2, num_stages + 1):
        b, b_1, b_2 = _b(stage), _b(stage - 1), _b(stage - 2)
        y_weight = (2 * stage - 1) / stage * b / b_1
        gain = y_weight * scaled_step
        # The last weight is mu~_j + gamma~_j in the notation of Meyer, Balsara & Aslam.
        levels.append((y_weight, -(stage - 1) / stage * b / b_2, gain, gain * b_1))
    return np.array(levels)


def _b(stage: int) -> float:
    """Return the coefficient b_j of RKL2."""
    return 1 / 3 if stage < 2 else (stage**2 + stage - 2) / (2 * stage * (stage + 1))
