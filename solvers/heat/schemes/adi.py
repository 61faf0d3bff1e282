"""Alternating directions on one rank, implicit along one axis after the other."""

from __future__ import annotations

import math

import numpy as np

from solvers.contract import DivergedError
from solvers.heat.operator import DiffusionOperator, WallTerms
from solvers.heat.schemes.scheme import Scheme, check_shorter_step
from solvers.heat.tridiagonal import factorise, solve
from solvers.numerics.grid import MARGIN

#: The numbers of equal parts of a step, tried in order until the extrapolated result converges.
_PARTS = (1, 2, 3, 4)

#: The round-off of the error estimate, as a share of the root mean square temperature.
_ROUND_OFF = 1e-10


class AlternatingDirections(Scheme):
    """Crank-Nicolson with its implicit part split into one factor for each axis:

        (1 - h A_1 / 2) (1 - h A_2 / 2) ... (u_(n+1) - u_n) = h (A u_n + s)

    (Douglas & Gunn 1964, doi:10.1007/BF01386093; in two dimensions the scheme of Peaceman & Rachford 1955.)

    The scheme has second order and keeps steady states for all walls. In two dimensions any step is stable
    for any k in the norm of (1 - h A_2 / 2) u. In three dimensions, errors grow slowly where k varies and the
    step is hundreds of times that of Euler. Waves much shorter than the step resolves are hardly damped, and
    jumps of k require short steps: the scheme is meant for smooth k.

    With `time_step` (s) all steps have the length h = `time_step`. Without it each step is computed in 1, 2,
    3 and 4 parts. The results are extrapolated to parts of length 0 in powers of h^2 (Hairer, Norsett &
    Wanner 1993, Solving ordinary differential equations I, section II.9). A step is accepted if the
    extrapolations of n and of n - 1 results differ by at most the allowed error. The allowed error is
    `tolerance` times the standard deviation of the temperature over the box. If four parts do not suffice,
    the step is shortened. Undamped and growing waves are detected, because they differ with the number of
    parts. Extrapolation would amplify these waves, so an accepted step uses another combination of the same
    results: its order is 2, 4 or 6, one order less than that of the extrapolation, and it removes the
    shortest waves along an axis.
    """

    def __init__(
        self, operator: DiffusionOperator, walls: WallTerms, time_step: float | None, tolerance: float
    ):
        assert operator.grid.communicator.size == 1
        self.operator = operator
        self.grid = operator.grid
        self.walls = walls
        self.time_step = time_step
        self.tolerance = tolerance
        self._lines = [_Lines(operator, axis) for axis in self.grid.axes]
        self._state, self._slope, self._later_slope, self._source = (operator.padded() for _ in range(4))
        self._changes = np.empty((1 if time_step else len(_PARTS), *self.grid.block_shape))

    def advance(self, temperature: np.ndarray, source: np.ndarray | None, duration: float) -> np.ndarray:
        """Return the temperature (K) after `duration`, see `Scheme.advance`."""
        return self._march(temperature, source, duration, track_heat=False)[0]

    def heat_supplied(self, temperature: np.ndarray, source: np.ndarray | None, duration: float) -> float:
        """Return the supplied heat (K m^d), see `Scheme.heat_supplied`."""
        return self._march(temperature, source, duration, track_heat=True)[1] * self.grid.cell_volume

    def _march(
        self, temperature: np.ndarray, source: np.ndarray | None, duration: float, track_heat: bool
    ) -> tuple[np.ndarray, float]:
        """Return the temperature after `duration` (s), and the supplied heat (K, summed over cells) or 0."""
        if not 0 < self.operator.spectral_bound < math.inf:
            raise DivergedError("the diffusivity is not finite")
        self._source[self.operator.interior] = 0.0 if source is None else source
        temperature = temperature.copy()
        next_step = self.time_step or duration
        remaining, supplied = duration, 0.0
        while remaining > 0:
            num_steps = math.ceil(remaining / next_step * (1 - 1e-12))
            step = remaining / num_steps
            change, heat, excess, scale = self._try_step(temperature, step, track_heat)
            if self.time_step is None:
                next_step = step * scale
                if excess > 1:
                    check_shorter_step(next_step, step, excess, self.tolerance, self.operator.spectral_bound)
                    continue
            temperature += change
            remaining *= (num_steps - 1) / num_steps
            supplied += heat
        return temperature, supplied

    def _try_step(
        self, temperature: np.ndarray, step: float, track_heat: bool
    ) -> tuple[np.ndarray, float, float, float]:
        """Return the change, the supplied heat, the error over the allowed error, the factor for the step."""
        self._evaluate(self._slope, temperature)
        if self.time_step is not None:
            heat = self._in_parts(self._changes[0], temperature, step, 1, track_heat)
            return self._changes[0], heat, 0.0, 1.0
        heats: list[float] = []
        for num_results, change in enumerate(self._changes, start=1):
            heats.append(self._in_parts(change, temperature, step, _PARTS[num_results - 1], track_heat))
            if num_results == 1:
                allowed = self._allowed(temperature, temperature + change)
                continue
            weights = _extrapolation_weights(num_results)
            difference = _weighted_sum(
                weights - np.append(_extrapolation_weights(num_results - 1), 0.0), self._changes
            )
            error = math.sqrt(float(np.mean(difference**2)))
            if not math.isfinite(error + allowed):
                raise DivergedError(f"the temperature is not finite after a step of {step:.3g} s")
            excess = max(error / allowed, 1e-6) if error > 0 else 1e-6
            if excess <= 1:
                break
        scale = min(5.0, max(0.2, 0.8 * excess ** (-1 / (2 * num_results - 1))))
        weights = damping_weights(num_results)
        return _weighted_sum(weights, self._changes), float(weights @ heats), excess, scale

    def _allowed(self, *temperatures: np.ndarray) -> float:
        """Return the allowed root mean square error of a step, K."""
        spread = max(float(np.std(u)) for u in temperatures)
        square = max(float(np.mean(u**2)) for u in temperatures)
        return self.tolerance * spread + _ROUND_OFF * math.sqrt(square)

    def _in_parts(
        self, change: np.ndarray, temperature: np.ndarray, step: float, num_parts: int, track_heat: bool
    ) -> float:
        """Fill `change` with the change over a step in equal parts; return the supplied heat or 0."""
        interior, length, supplied = self.operator.interior, step / num_parts, 0.0
        change.fill(0.0)
        slope = self._slope
        for part in range(num_parts):
            if part > 0:
                slope = self._later_slope
                self._evaluate(slope, temperature, change)
            if track_heat:
                lost = float(np.sum(self.walls.loss * (temperature + change)))
                supplied += length * (float(np.sum(self._source[interior])) - lost)
            increment = np.multiply(slope[interior], length, out=self._lines[0].cells)
            for lines in self._lines:
                increment = lines.solve(increment, length / 2)
                if track_heat:
                    supplied -= length / 2 * lines.lost()
            change += increment
        return supplied

    def _evaluate(self, out: np.ndarray, temperature: np.ndarray, change: np.ndarray | float = 0.0) -> None:
        """Set out = A (u + change) + s."""
        np.add(temperature, change, out=self._state[self.operator.interior])
        self.operator.pad(self._state)
        out.fill(0.0)
        self.operator.march(self._state, out, self._source, np.array([[0.0, 0.0, 1.0, 1.0]]))


class _Lines:
    """The lines of cells along one axis of a grid, with the part A of the operator along this axis.

    Attributes:
        cells: the right side and then the solution, with this axis first.
    """

    def __init__(self, operator: DiffusionOperator, axis: int):
        grid = operator.grid
        self._axis = axis
        self._periodic = grid.boundary[axis] == "periodic"
        cells = operator.interior[axis]
        index = tuple(
            slice(cells.start, cells.stop + 1) if other == axis else part
            for other, part in enumerate(operator.interior)
        )
        faces = np.moveaxis(operator.faces[axis][index], axis, 0).copy()
        if not self._periodic:
            faces[[0, -1]] *= 2  # the loss w is twice the conductance of the face
        self._wall_losses = faces[[0, -1]]
        # Row lengths of whole pages would map neighbouring rows to the same cache sets.
        num_lines = faces[0].size
        width = num_lines + MARGIN if num_lines % 64 == 0 else num_lines
        self._faces = np.zeros((len(faces), width))
        self._faces[:, :num_lines] = faces.reshape(len(faces), num_lines)
        self._values = np.zeros((len(faces) - 1, width))
        self.cells = self._values[:, :num_lines].reshape(-1, *faces.shape[1:])
        self._factors: dict[float, tuple[np.ndarray, np.ndarray]] = {}

    def solve(self, right: np.ndarray, a: float) -> np.ndarray:
        """Return the solution y of (1 - a A) y = `right`; the next call overwrites it."""
        if right is not self.cells:
            np.copyto(self.cells, np.moveaxis(right, self._axis, 0))
        if a not in self._factors:
            if len(self._factors) >= len(_PARTS):
                self._factors.clear()
            inverse = np.empty(self._values.shape)
            corner = np.empty(self._values.shape if self._periodic else (1, 1))
            factorise(inverse, corner, self._faces, a, self._periodic)
            self._factors[a] = inverse, corner
        solve(self._values, *self._factors[a], self._faces, a, self._periodic)
        return np.moveaxis(self.cells, 0, self._axis)

    def lost(self) -> float:
        """Return the loss of the solution at the walls of this axis (K/s, summed over cells)."""
        return 0.0 if self._periodic else float(np.sum(self._wall_losses * self.cells[[0, -1]]))


def _extrapolation_weights(num_results: int) -> np.ndarray:
    """Return weights of the first results in `_PARTS` that sum to 1 and cancel errors of orders 2, 4, ..."""
    parts = np.array(_PARTS[:num_results], dtype=float)
    conditions = [parts ** (-2.0 * power) for power in range(num_results)]
    return np.linalg.solve(np.array(conditions), np.eye(num_results)[0])


def damping_weights(num_results: int) -> np.ndarray:
    """Return weights of one order less that also cancel waves that change sign in each part."""
    parts = np.array(_PARTS[:num_results], dtype=float)
    conditions = [parts ** (-2.0 * power) for power in range(num_results - 1)]
    return np.linalg.solve(np.array([*conditions, (-1.0) ** parts]), np.eye(num_results)[0])


def _weighted_sum(weights: np.ndarray, arrays: np.ndarray) -> np.ndarray:
    """Return the weighted sum of the first arrays."""
    total: np.ndarray = weights[0] * arrays[0]
    for weight, array in zip(weights[1:], arrays[1:], strict=False):
        total += weight * array
    return total
