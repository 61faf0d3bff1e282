"""Explicit schemes for any diffusivity: RKL2 super-time-stepping, and forward Euler on request."""

from __future__ import annotations

import math
from abc import abstractmethod

import numpy as np

from solvers.contract import DivergedError
from solvers.heat_operator import DiffusionOperator, Walls
from solvers.heat_scheme import Scheme

#: More stages than this are not taken in one step: round-off grows with their number.
MAX_STAGES = 199

#: The shortest step that the error estimate may ask for, over the stable one of Euler. From rest a step
#: tau errs by about (tau rho)^2 / 10 of the temperature, which is round-off well above this.
_LEAST_STEP = 1e-6

#: The share of the root mean square temperature that is round-off in the error estimate.
_ROUND_OFF = 1e-10


class ExplicitScheme(Scheme):
    """A scheme that needs nothing but the right side; it also keeps account of the heat.

    `_account` asks the steps to carry the supplied heat through their own recurrence.
    """

    def __init__(self, operator: DiffusionOperator, walls: Walls):
        self.operator = operator
        self.grid = operator.grid
        self.walls = walls
        self._state, self._slope, self._source = (self.grid.padded() for _ in range(3))
        self._account = False

    @abstractmethod
    def _march(self, duration: float) -> float:
        """Takes `_state` through `duration`; the heat supplied to this rank's cells if `_account`."""

    def advance(self, temperature: np.ndarray, source: np.ndarray | None, duration: float) -> np.ndarray:
        """See `Scheme.advance`."""
        self._load(temperature, source)
        self._march(duration)
        return self._state[self.grid.interior].copy()

    def heat_supplied(self, temperature: np.ndarray, source: np.ndarray | None, duration: float) -> float:
        """See `Scheme.heat_supplied`."""
        self._load(temperature, source)
        self._account = True
        try:
            local = self._march(duration)
        finally:
            self._account = False
        return float(self.grid.total(local)[0]) * self.grid.cell_volume

    def _load(self, temperature: np.ndarray, source: np.ndarray | None) -> None:
        self.operator.load(self._state, temperature)
        self._source[self.grid.interior] = 0.0 if source is None else source

    def _evaluate(self, out: np.ndarray, y: np.ndarray) -> None:
        """Sets out = A y + s."""
        self.operator.apply(out, y, y, self._source, (0.0, 0.0, 1.0, 1.0))

    def _lost(self, padded: np.ndarray) -> float:
        """What the walls take from this rank's cells per second (K/s, summed), 0 if nobody asks."""
        return float(np.sum(self.walls.loss * padded[self.grid.interior])) if self._account else 0.0


class ForwardEuler(ExplicitScheme):
    """u + tau (A u + s): first order, stable up to tau = 2 / rho, rho the spectral radius.

    Steps are those declared by `time_step` (s), or nine tenths of the limit. A benchmark, no tool.
    """

    def __init__(self, operator: DiffusionOperator, walls: Walls, time_step: float | None):
        super().__init__(operator, walls)
        self.time_step = time_step

    def _march(self, duration: float) -> float:
        limit = 2 / self.operator.spectral_bound
        longest = self.time_step or 0.9 * limit
        if not longest <= limit * (1 + 1e-9):
            raise DivergedError(
                f"a time step of {longest:.3g} s exceeds the stable limit {limit:.3g} s of forward Euler "
                "for the diffusivity of this trajectory"
            )
        num_steps = math.ceil(duration / longest * (1 - 1e-12))
        step = duration / num_steps
        supplied = float(np.sum(self._source)) * duration
        for _ in range(num_steps):
            supplied -= step * self._lost(self._state)
            self.operator.apply(self._slope, self._state, self._state, self._source, (1.0, 0.0, step, step))
            self._state, self._slope = self._slope, self._state
        return supplied


class SuperTimeStepping(ExplicitScheme):
    """RKL2, the stabilised Runge-Kutta-Legendre scheme of second order.

    A step tau of s stages (s odd) is stable up to tau rho = (s^2 + s - 2) / 2, rho the spectral radius,
    where s steps of Euler reach 2 s: the gain is about s / 4 (Meyer, Balsara & Aslam 2014,
    doi:10.1016/j.jcp.2013.08.021, equations 16 to 19). Steps are those declared by `time_step` (s), or
    chosen so that the error of each is at most `tolerance` times the standard deviation of the
    temperature over the box. The estimate is that of Sommeijer, Shampine & Verwer (1998,
    doi:10.1016/S0377-0427(97)00219-7), with the constant of RKL2.
    """

    def __init__(self, operator: DiffusionOperator, walls: Walls, time_step: float | None, tolerance: float):
        super().__init__(operator, walls)
        self.time_step = time_step
        self.tolerance = tolerance
        self._trial, self._trial_slope = self.grid.padded(), self.grid.padded()
        self._changes = tuple(self.grid.padded() for _ in range(3))

    def _march(self, duration: float) -> float:
        longest = largest_product(MAX_STAGES) / self.operator.spectral_bound
        if not longest > 0:
            raise DivergedError("the diffusivity is not finite")
        shortest = _LEAST_STEP * 2 / self.operator.spectral_bound
        wanted = min(self.time_step or duration, longest)
        remaining, supplied = duration, 0.0
        self._evaluate(self._slope, self._state)
        while remaining > 0:
            num_steps = math.ceil(remaining / wanted * (1 - 1e-12))
            step = remaining / num_steps
            num_stages = stages_for(step * self.operator.spectral_bound)
            heat = self._try_step(step, num_stages)
            if self.time_step is None:
                excess = self._error(step, num_stages)
                wanted = min(step * min(5.0, max(0.2, 0.8 * excess ** (-1 / 3))), longest)
                if excess > 1:
                    if wanted < shortest:
                        raise DivergedError(
                            f"a step of {step:.3g} s errs by {excess:.3g} times the tolerance "
                            f"{self.tolerance:g}, and none below {shortest:.3g} s is tried: that is "
                            f"{_LEAST_STEP:g} of the stable step of Euler"
                        )
                    continue
            self._state, self._trial = self._trial, self._state
            self._slope, self._trial_slope = self._trial_slope, self._slope
            remaining *= (num_steps - 1) / num_steps
            supplied += heat
        return supplied

    def _try_step(self, step: float, num_stages: int) -> float:
        """Fills `_trial` and its slope; the heat supplied to this rank's cells if `_account`.

        The recurrence is that of the change D_j = Y_j - Y_0: as A Y + s = A D + slope, neither Y_0 nor s
        appears in it.
        """
        older, change, out = self._changes
        width = 4 / (num_stages**2 + num_stages - 2)
        slope_rate = float(np.sum(self._source)) - self._lost(self._state)
        np.multiply(self._slope, width / 3 * step, out=change)
        older.fill(0.0)
        older_heat, heat = 0.0, width / 3 * step * slope_rate
        for stage in range(2, num_stages + 1):
            b, b_1, b_2 = _b(stage), _b(stage - 1), _b(stage - 2)
            present = (2 * stage - 1) / stage * b / b_1
            past = -(stage - 1) / stage * b / b_2
            gain = present * width * step
            slope_gain = gain * b_1  # mu~_j + gamma~_j of the paper
            next_heat = present * heat + past * older_heat
            next_heat += slope_gain * slope_rate - gain * self._lost(change)
            self.operator.apply(out, change, older, self._slope, (present, past, gain, slope_gain))
            older, change, out = change, out, older
            older_heat, heat = heat, next_heat
        np.add(self._state, change, out=self._trial)
        self._evaluate(self._trial_slope, self._trial)
        return heat

    def _error(self, step: float, num_stages: int) -> float:
        """The estimated error of the step over the allowed one.

        The trapezoidal rule misses tau^3 u_ttt / 12 and the step `miss` tau^3 u_ttt; both are seen in
        u_n - u_(n+1) + tau (u_t,n + u_t,n+1) / 2 = (1 / 12 + miss) tau^3 u_ttt.
        """
        interior = self.grid.interior
        state, trial = self._state[interior], self._trial[interior]
        product = num_stages**2 + num_stages
        miss = 1 / 6 - (product - 6) / (9 * (product - 2))
        estimate = state - trial + step / 2 * (self._slope[interior] + self._trial_slope[interior])
        sums = self.grid.total(
            np.sum(estimate**2), *(np.sum(u) for u in (state, trial)), *(np.sum(u**2) for u in (state, trial))
        )
        error, *moments = sums / math.prod(self.grid.resolution)
        error = miss / (1 / 12 + miss) * math.sqrt(error)
        square = max(moments[2:])
        variance = max(moments[2] - moments[0] ** 2, moments[3] - moments[1] ** 2, 0.0)
        allowed = self.tolerance * math.sqrt(variance) + _ROUND_OFF * math.sqrt(square)
        if not math.isfinite(error + allowed):
            raise DivergedError(f"the temperature is not finite after a step of {step:.3g} s")
        return max(error / allowed, 1e-6) if error > 0 else 1e-6


def largest_product(num_stages: int) -> float:
    """The largest stable step times the spectral radius."""
    return (num_stages**2 + num_stages - 2) / 2


def stages_for(product: float) -> int:
    """The least odd number of stages, 3 or more, that is stable for this step times spectral radius."""
    least = math.ceil((math.sqrt(9 + 8 * product) - 1) / 2 * (1 - 1e-12))
    return max(3, least + 1 - least % 2)


def _b(stage: int) -> float:
    """The coefficient b_j of RKL2."""
    return 1 / 3 if stage < 2 else (stage**2 + stage - 2) / (2 * stage * (stage + 1))
