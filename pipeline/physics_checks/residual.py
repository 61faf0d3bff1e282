"""The residual of a solver's equation in stored frames, without the solver's own discretisation.

The equation u_t = F(u) is integrated over the time between two frames. The defect of the interval n, n + 1 is

    d_n = (u_{n+1} - u_n) / dt - mean of F over the interval.

A quadrature of order 6 over six frames gives the mean of F, and derivatives on the data's own grid give F.
The defect of a solution is not 0, because quadrature and derivatives have errors. The estimate of these
errors is the sum of

- the difference of the quadratures of orders 6 and 4, and where these do not converge, also of 4 and 2,
- the difference from derivatives of lower order, for a solver of finite order in space,
- the change of the defect by the rounding of the file.

The error of the quadrature of a wave or of a decaying exponential is at most about as large as the
difference. A defect above `MAX_RATIO` estimates in one interval (particles: in half of the intervals)
therefore means that the fields do not satisfy the equation.

An equation without a derivative in time, such as that of a divergence, is a constraint of each frame.

Shape letters: T frames, C channels; `*sites` as in the spec.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from pipeline.physics_checks.derivatives import HIGH_ORDER, LOW_ORDER, derivative_of_order, smooth_part
from pipeline.physics_checks.stored_rows import (
    Frames,
    NotApplicableError,
    order_of,
    refuse_large_frames,
)
from solvers.contract import Solver

#: The numbers of frames of the three quadratures, which are their orders.
_ORDERS = (6, 4, 2)

#: The first interval. The high modes of a start decay within the intervals before it.
_FIRST_INTERVAL = 2

#: The fewest frames of a defect.
LEAST_FRAMES = max(_ORDERS)

#: The largest difference of the quadratures of orders 6 and 4 where these converge, in differences of those
#: of orders 4 and 2: about seven frames in the period of a wave.
_CONVERGENCE = 0.15

#: A smaller difference of the quadratures, relative to the mean of F, is rounding.
_ROUND_OFF = 1e-4

#: The largest defect, in estimated errors.
MAX_RATIO = 4.0

#: The roundings of a value that the file and the arithmetic of the solver make.
_ROUNDINGS = 10


@dataclass(frozen=True)
class Defect:
    """The defect of one equation in the frames of one trajectory.

    Attributes:
        values: the defect in each interval or frame (N, *sites), without the cells next to walls.
        estimates: the root mean square of its estimated error (N,); infinity where the
            interval does not count.
        frames: the first frame of each interval, or the frame (N,).
        quantile: the share of the intervals whose ratio counts: 1 for the largest ratio, 0.5 for the median.
        sizes: the root mean square of the rate of change (N,); empty for an equation without one.
    """

    values: np.ndarray
    estimates: np.ndarray
    frames: np.ndarray
    quantile: float = 1.0
    sizes: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0))

    @property
    def ratios(self) -> np.ndarray:
        """The root mean square of the defect over its estimated error, (N,)."""
        norms = root_mean_square(self.values)
        ratios: np.ndarray = norms / self.estimates
        return ratios

    @property
    def ratio(self) -> float:
        """The largest ratio of the intervals that count, or their median, see `quantile`."""
        counted = self.ratios[np.isfinite(self.estimates)]
        return float(np.quantile(counted, self.quantile)) if counted.size else 0.0

    @property
    def relative_residual(self) -> float | None:
        """The defect beyond its estimated error over the rate of change; None without such a rate.

        Both are root mean squares over the intervals.
        """
        if not np.any(self.sizes):
            return None
        excess = np.maximum(root_mean_square(self.values) - self.estimates, 0)
        return float(np.linalg.norm(excess) / np.linalg.norm(self.sizes))

    @property
    def frame(self) -> int:
        """The frame with the largest ratio."""
        return int(self.frames[np.argmax(self.ratios)])


def refuse_unsuitable(solver: Solver, num_frames: int) -> None:
    """Refuse a solver whose residual says nothing on its stored frames.

    Raises:
        NotApplicableError: the message is the reason.
    """
    spec = solver.spec
    if spec.coarsening:
        raise NotApplicableError(
            "the stored fields are those of a coarser grid, which do not satisfy the equation"
        )
    if type(solver).residual is Solver.residual:
        raise NotApplicableError(f"the solver {spec.name} has no method residual")
    if not spec.autonomous:
        raise NotApplicableError("the equation depends on time, so its terms may jump between two frames")
    if not spec.smooth_coefficients:
        raise NotApplicableError("the coefficient fields have jumps, where derivatives do not exist")
    if spec.has_particles and spec.chaotic:
        raise NotApplicableError("an encounter of particles may be shorter than the time between two frames")
    if num_frames < LEAST_FRAMES:
        raise NotApplicableError(
            f"a trajectory has {num_frames} frames, and an integral over time needs {LEAST_FRAMES}"
        )
    refuse_large_frames(spec)


def defects(solver: Solver, frames: Frames) -> dict[str, Defect]:
    """Return the defect of each equation of the solver, by name; empty if the solver has no residual.

    Raises:
        NotApplicableError: the equation has a second derivative in time.
    """
    is_spectral = math.isinf(order_of(solver, "space"))
    terms = _terms(solver, frames, math.inf if is_spectral else HIGH_ORDER)
    low_terms = terms if is_spectral else _terms(solver, frames, LOW_ORDER)
    result = {
        name: _defect(change, rate, low_terms[name][1], solver.spec.has_particles)
        if np.any(change)
        else _constraint(rate, low_terms[name][1])
        for name, (change, rate) in terms.items()
    }
    if all(defect.ratio <= 1 for defect in result.values()):
        return result
    # The effect of rounding costs as much as the defect, so it is computed where it matters.
    rng, eps = np.random.default_rng(0), float(np.finfo(frames.precision).eps)
    noise = _ROUNDINGS * eps * rng.uniform(-1, 1, frames.states.shape)
    rounded_terms = _terms(
        solver,
        dataclasses.replace(frames, states=frames.states * (1 + noise)),
        math.inf if is_spectral else HIGH_ORDER,
    )
    for name, defect in result.items():
        change, rate = (new - old for new, old in zip(rounded_terms[name], terms[name], strict=True))
        rounding = change[defect.frames] + _mean(rate, _ORDERS[0]) if np.any(terms[name][0]) else rate
        result[name] = dataclasses.replace(defect, estimates=defect.estimates + root_mean_square(rounding))
    return result


def root_mean_square(values: np.ndarray) -> np.ndarray:
    """Return the root mean square over all but the first axis."""
    norms: np.ndarray = np.sqrt(np.mean(values.reshape(len(values), -1) ** 2, axis=1))
    return norms


def _defect(change: np.ndarray, rate: np.ndarray, low_rate: np.ndarray, has_particles: bool) -> Defect:
    """Return the defect of an equation with a time derivative.

    `change` is the change of each interval over its length. `rate` and `low_rate` are the residual of each
    frame without its time derivative, by derivatives of high and of low order. A close encounter of particles
    may lie between two frames, so intervals of particles count only where the quadratures converge, and their
    median decides.
    """
    frames = np.arange(_FIRST_INTERVAL, len(rate) - 1)
    mean, mean_4, mean_2 = (_mean(rate, order) for order in _ORDERS)
    time_error, low_time_error, space_error = (
        _largest_nearby(root_mean_square(difference))
        for difference in (mean - mean_4, mean_4 - mean_2, mean - _mean(low_rate, _ORDERS[0]))
    )
    size = np.maximum(root_mean_square(mean), root_mean_square(change[frames]))
    is_smooth = time_error < np.maximum(_CONVERGENCE * low_time_error, _ROUND_OFF * size)
    rough_error = np.inf if has_particles else time_error + low_time_error
    estimates = space_error + np.where(is_smooth, time_error, rough_error)
    return Defect(change[frames] + mean, estimates, frames, 0.5 if has_particles else 1.0, size)


def _constraint(rate: np.ndarray, low_rate: np.ndarray) -> Defect:
    """Return the defect of an equation without a time derivative."""
    tiny = np.finfo(np.float64).tiny
    return Defect(rate, root_mean_square(rate - low_rate) + tiny, np.arange(len(rate)))


def _terms(solver: Solver, frames: Frames, order: float) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return for each equation the change of each interval over its length, and the residual without it.

    The residual with the change of the fields in place of their time derivative has one more term than the
    residual with the time derivative 0, whatever the other derivatives are. The last entry of the change
    belongs to no interval. Both have the shape of `smooth_part`.
    """
    spec = solver.spec
    states = np.moveaxis(frames.states, 1, 0)
    fields: dict[str, Any] = dict(zip(spec.channels, states, strict=True))
    identities = {id(values) for values in fields.values()}
    fields |= {
        name: values[None]
        for name, values in zip(spec.coefficient_channels, frames.coefficient_fields, strict=True)
    }
    shape = frames.states.shape[:1] + frames.states.shape[2:]
    along_axes = derivative_of_order(spec, order)
    interval = float(frames.times[1] - frames.times[0])

    cached: dict[tuple[int, str], tuple[np.ndarray, np.ndarray]] = {}

    def along(values: np.ndarray, axis: str) -> np.ndarray:
        # An entry keeps its values, so no other array takes their identity.
        key = (id(values), axis)
        if key not in cached:
            cached[key] = values, along_axes(values, axis)
        return cached[key][1]

    def residual(factor: float, has_axes: bool) -> dict[str, np.ndarray]:
        def derivative(values: np.ndarray, axis: str) -> np.ndarray:
            if axis != "t":
                return along(values, axis) if has_axes else np.zeros_like(values)
            if id(values) not in identities:
                raise NotApplicableError("the equation differentiates other quantities than fields in time")
            return factor * np.diff(values, axis=0, append=values[-1:]) / interval

        return solver.residual(fields, derivative, frames.parameters)

    rates, with_change, without_change = residual(0.0, True), residual(1.0, False), residual(0.0, False)
    terms = {}
    for name, rate in rates.items():
        change = np.broadcast_to(with_change[name] - without_change[name], shape)
        without_time = np.broadcast_to(rate, shape)
        if not spec.has_particles:
            without_time = smooth_part(spec, without_time)
            change = smooth_part(spec, change) if np.any(change) else np.zeros_like(without_time)
        terms[name] = (change, without_time)
    return terms


def _mean(rates: np.ndarray, order: int) -> np.ndarray:
    """Return the mean of rates (T, ...) over each interval n, n + 1 from `_FIRST_INTERVAL` on.

    The polynomial through the `order` frames around the interval is integrated, at the end through the last
    frames.
    """
    start = _FIRST_INTERVAL + 1 - order // 2
    num_centred = len(rates) - order + 1 - start
    result = np.zeros((len(rates) - 1 - _FIRST_INTERVAL, *rates.shape[1:]))
    for frame, weight in enumerate(_weights(order, order // 2 - 1)):
        result[:num_centred] += weight * rates[start + frame : start + frame + num_centred]
    for position in range(num_centred, len(result)):
        weights = _weights(order, order // 2 - num_centred + position)
        result[position] = np.tensordot(weights, rates[len(rates) - order :], 1)
    return result


@cache
def _weights(order: int, interval: int) -> np.ndarray:
    """Return the weights of `order` frames in the mean of their polynomial over one of their intervals."""
    powers = np.arange(order)
    right_side = ((interval + 1.0) ** (powers + 1) - float(interval) ** (powers + 1)) / (powers + 1)
    weights: np.ndarray = np.linalg.solve(np.vander(np.arange(float(order)), increasing=True).T, right_side)
    return weights


def _largest_nearby(values: np.ndarray) -> np.ndarray:
    """Return the largest of each value and its three neighbours on both sides.

    An estimate of a few sites may vanish by chance at one time, and the quadrature reads three frames on each
    side.
    """
    padded = np.pad(values, 3, mode="edge")
    largest: np.ndarray = np.max([padded[first : first + len(values)] for first in range(7)], axis=0)
    return largest
