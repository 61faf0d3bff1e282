"""Explicit schemes for any diffusivity: RKL2 super-time-stepping and forward Euler."""

from __future__ import annotations

import math
from abc import abstractmethod

import numpy as np

from solvers.contract import DivergedError
from solvers.heat.operator import DiffusionOperator, WallTerms
from solvers.heat.schemes.scheme import Scheme, check_shorter_step

#: The largest number of stages in one step; round-off grows with the number of stages.
MAX_STAGES = 199

#: The round-off of the error estimate, as a share of the root mean square temperature.
_ROUND_OFF = 1e-10


class ExplicitScheme(Scheme):
    """A scheme that only evaluates the right side, and tracks the supplied heat on request."""

    def __init__(self, operator: DiffusionOperator, walls: WallTerms):
        self.operator = operator
        self.grid = operator.grid
        self.walls = walls
        self._interior = operator.interior
        self._state, self._slope = operator.padded(), operator.padded()
        self._source: np.ndarray | None = None

    @abstractmethod
    def _march(self, duration: float, track_heat: bool) -> float:
        """Advance `_state` by `duration` (s).

        With `track_heat` return the heat supplied to this rank's cells (K, summed over cells), else 0.
        """

    def advance(self, temperature: np.ndarray, source: np.ndarray | None, duration: float) -> np.ndarray:
        """Return the temperature (K) after `duration`, see `Scheme.advance`."""
        self._load(temperature, source)
        self._march(duration, track_heat=False)
        return self._state[self._interior].copy()

    def heat_supplied(self, temperature: np.ndarray, source: np.ndarray | None, duration: float) -> float:
        """Return the supplied heat (K m^d), see `Scheme.heat_supplied`."""
        self._load(temperature, source)
        local = self._march(duration, track_heat=True)
        return float(self.grid.total(local)[0]) * self.grid.cell_volume

    def _load(self, temperature: np.ndarray, source: np.ndarray | None) -> None:
        """Write the temperature and the source into the padded arrays."""
        self.operator.load(self._state, temperature)
        self._slope.fill(0.0)
        self._source = None
        if source is not None:
            self._source = self.operator.padded()
            self.operator.load(self._source, source)

    def _supplied(self) -> float:
        """Return the supply of the source to this rank's cells (K/s, summed over cells)."""
        return 0.0 if self._source is None else float(np.sum(self._source[self._interior]))

    def _lost(self, padded: np.ndarray) -> float:
        """Return the loss of this rank's cells at the walls (K/s, summed over cells)."""
        return float(np.sum(self.walls.loss * padded[self._interior]))


class ForwardEuler(ExplicitScheme):
    """u + tau (A u + s): first order, stable up to tau = 2 / rho with the spectral radius rho.

    The step is `time_step` (s), or without it nine tenths of the limit. Forward Euler serves as a baseline
    for benchmarks.
    """

    def __init__(self, operator: DiffusionOperator, walls: WallTerms, time_step: float | None):
        super().__init__(operator, walls)
        self.time_step = time_step

    def _march(self, duration: float, track_heat: bool) -> float:
        limit = 2 / self.operator.spectral_bound
        longest = self.time_step or 0.9 * limit
        if not longest <= limit * (1 + 1e-9):
            raise DivergedError(
                f"the time step {longest:.3g} s exceeds the stable limit {limit:.3g} s of forward Euler for "
                "the diffusivity of this trajectory"
            )
        num_steps = math.ceil(duration / longest * (1 - 1e-12))
        step = duration / num_steps
        levels = np.tile([1.0, 0.0, step, step], (num_steps, 1))
        if not track_heat:
            self._state, self._slope = self.operator.march(self._state, self._slope, self._source, levels)
            return 0.0
        supplied = self._supplied() * duration
        for level in levels:
            supplied -= step * self._lost(self._state)
            self._state, self._slope = self.operator.march(
                self._state, self._slope, self._source, level[None]
            )
        return supplied


class SuperTimeStepping(ExplicitScheme):
    """RKL2, the stabilised Runge-Kutta-Legendre scheme of second order.

    A step tau of s stages (s odd) is stable up to tau rho = (s^2 + s - 2) / 2 with the spectral radius rho.
    As s steps of Euler reach 2 s, the gain is about s / 4 (Meyer, Balsara & Aslam 2014,
    doi:10.1016/j.jcp.2013.08.021, equations 16 to 19). The step is `time_step` (s), or without it chosen so
    that its error is at most `tolerance` times the standard deviation of the temperature over the box. The
    error estimate is that of Sommeijer, Shampine & Verwer (1998, doi:10.1016/S0377-0427(97)00219-7) with the
    constant of RKL2.
    """

    def __init__(
        self, operator: DiffusionOperator, walls: WallTerms, time_step: float | None, tolerance: float
    ):
        super().__init__(operator, walls)
        self.time_step = time_step
        self.tolerance = tolerance
        self._trial, self._trial_slope = operator.padded(), operator.padded()
        self._changes = operator.padded(), operator.padded()
        self._no_source = operator.padded()

    def _march(self, duration: float, track_heat: bool) -> float:
        longest = largest_product(MAX_STAGES) / self.operator.spectral_bound
        if not longest > 0:
            raise DivergedError("the diffusivity is not finite")
        next_step = min(self.time_step or duration, longest)
        remaining, supplied = duration, 0.0
        self._evaluate(self._slope, self._state)
        while remaining > 0:
            num_steps = math.ceil(remaining / next_step * (1 - 1e-12))
            step = remaining / num_steps
            num_stages = stages_for(step * self.operator.spectral_bound)
            heat = self._try_step(step, num_stages, track_heat)
            if self.time_step is None:
                excess = self._error(step, num_stages)
                next_step = min(step * min(5.0, max(0.2, 0.8 * excess ** (-1 / 3))), longest)
                if excess > 1:
                    check_shorter_step(next_step, step, excess, self.tolerance, self.operator.spectral_bound)
                    continue
            self._state, self._trial = self._trial, self._state
            self._slope, self._trial_slope = self._trial_slope, self._slope
            remaining *= (num_steps - 1) / num_steps
            supplied += heat
        return supplied

    def _try_step(self, step: float, num_stages: int, track_heat: bool) -> float:
        """Fill `_trial` and its slope; return the heat supplied to this rank's cells if tracked.

        The recurrence is written for the change D_j = Y_j - Y_0. As A Y + s = A D + slope, it contains
        neither Y_0 nor s.
        """
        width = 4 / (num_stages**2 + num_stages - 2)
        change, older = self._changes
        np.multiply(self._slope, width / 3 * step, out=change)
        older.fill(0.0)
        levels, heat = _recurrence(num_stages, width * step), 0.0
        if track_heat:
            slope_rate = self._supplied() - self._lost(self._state)
            older_heat, heat = 0.0, width / 3 * step * slope_rate
            for level in levels:
                present, past, gain, slope_gain = level
                next_heat = present * heat + past * older_heat
                next_heat += slope_gain * slope_rate - gain * self._lost(change)
                change, older = self.operator.march(change, older, self._slope, level[None])
                older_heat, heat = heat, next_heat
        else:
            change, older = self.operator.march(change, older, self._slope, levels)
        self._changes = change, older
        np.add(self._state, change, out=self._trial)
        self._evaluate(self._trial_slope, self._trial)
        return heat

    def _evaluate(self, out: np.ndarray, y: np.ndarray) -> None:
        """Set out = A y + s, with its padding."""
        out.fill(0.0)
        source = self._no_source if self._source is None else self._source
        self.operator.march(y, out, source, np.array([[0.0, 0.0, 1.0, 1.0]]))
        self.operator.exchange(out)

    def _error(self, step: float, num_stages: int) -> float:
        """Return the estimated error of the step divided by the allowed error.

        The error of the trapezoidal rule is tau^3 u_ttt / 12 and the error of the step c tau^3 u_ttt with
        `constant` c. Their sum is u_n - u_(n+1) + tau (u_t,n + u_t,n+1) / 2 = (1 / 12 + c) tau^3 u_ttt.
        """
        interior = self._interior
        state, trial = self._state[interior], self._trial[interior]
        product = num_stages**2 + num_stages
        constant = 1 / 6 - (product - 6) / (9 * (product - 2))
        estimate = state - trial + step / 2 * (self._slope[interior] + self._trial_slope[interior])
        sums = self.grid.total(
            np.sum(estimate**2), *(np.sum(u) for u in (state, trial)), *(np.sum(u**2) for u in (state, trial))
        )
        error, *moments = sums / math.prod(self.grid.resolution)
        error = constant / (1 / 12 + constant) * math.sqrt(error)
        square = max(moments[2:])
        variance = max(moments[2] - moments[0] ** 2, moments[3] - moments[1] ** 2, 0.0)
        allowed = self.tolerance * math.sqrt(variance) + _ROUND_OFF * math.sqrt(square)
        if not math.isfinite(error + allowed):
            raise DivergedError(f"the temperature is not finite after a step of {step:.3g} s")
        return max(error / allowed, 1e-6) if error > 0 else 1e-6


def largest_product(num_stages: int) -> float:
    """Return the largest stable product of step and spectral radius."""
    return (num_stages**2 + num_stages - 2) / 2


def stages_for(product: float) -> int:
    """Return the smallest stable number of stages, odd and at least 3, for step times spectral radius."""
    least = math.ceil((math.sqrt(9 + 8 * product) - 1) / 2 * (1 - 1e-12))
    return max(3, least + 1 - least % 2)


def _recurrence(num_stages: int, scaled_step: float) -> np.ndarray:
    """Return the weights of stages 2 to s, see `DiffusionOperator.march`; `scaled_step` is w_1 tau."""
    levels = []
    for stage in range(2, num_stages + 1):
        b, b_1, b_2 = _b(stage), _b(stage - 1), _b(stage - 2)
        present = (2 * stage - 1) / stage * b / b_1
        gain = present * scaled_step
        # The last weight is mu~_j + gamma~_j of the paper.
        levels.append((present, -(stage - 1) / stage * b / b_2, gain, gain * b_1))
    return np.array(levels)


def _b(stage: int) -> float:
    """Return the coefficient b_j of RKL2."""
    return 1 / 3 if stage < 2 else (stage**2 + stage - 2) / (2 * stage * (stage + 1))
