"""The alternating-direction implicit (ADI) scheme on one rank."""

from __future__ import annotations

import math

import numpy as np

from solvers.contract import DivergedError
from solvers.heat.operator import DiffusionOperator, WallTerms
from solvers.heat.schemes.scheme import Scheme, check_shorter_step
from solvers.heat.tridiagonal import factorise, solve
from solvers.numerics.grid import MARGIN

#: The numbers of substeps of a step, tried in order until the extrapolated result converges.
_SUBSTEPS = (1, 2, 3, 4)

#: The round-off error of the error estimate, relative to the root mean square temperature.
_ROUND_OFF = 1e-10


class AlternatingDirections(Scheme):
    """The Crank-Nicolson scheme with one implicit factor for each axis.

        (1 - h A_1 / 2) (1 - h A_2 / 2) ... (u_(n+1) - u_n) = h (A u_n + s)

    Douglas & Gunn (1964, doi:10.1007/BF01386093) describe the scheme. In two dimensions the scheme is that of
    Peaceman & Rachford (1955).

    The scheme has second order and preserves steady states for all walls. In two dimensions any step is
    stable for any k in the norm of (1 - h A_2 / 2) u. In three dimensions, errors grow slowly for variable k
    and steps of hundreds of Euler steps. The scheme hardly damps waves much shorter than the step resolves,
    and jumps of k require short steps. The scheme is therefore intended for smooth k.

    With `time_step` (s) all steps have the length h = `time_step`. Without `time_step` each step is computed
    with 1, 2, 3 and 4 substeps. The results are extrapolated to substeps of length 0 in powers of h^2
    (Hairer, Norsett & Wanner 1993, Solving ordinary differential equations I, section II.9). A step is
    accepted if the extrapolations from n and from n - 1 results differ by at most the allowed error. The
    allowed error is `tolerance` times the standard deviation of the temperature over the box. A step that
    fails with four substeps is repeated with a shorter length. Undamped and growing waves depend on the
    number of substeps, and the error estimate detects these waves. Extrapolation would amplify these waves.
    An accepted step therefore uses another combination of the same results. The order of this combination is
    2, 4 or 6, one order less than that of the extrapolation. The combination removes the shortest waves along
    an axis.
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
        self._state, self._slope, self._later_slope, self._source = (
            operator.padded_array() for _ in range(4)
        )
        self._changes = np.empty((1 if time_step else len(_SUBSTEPS), *self.grid.block_shape))

    def advance(self, temperature: np.ndarray, source: np.ndarray | None, duration: float) -> np.ndarray:
        """Return the temperature (K) after `duration`, see `Scheme.advance`."""
        return self._march(temperature, source, duration, track_heat=False)[0]

    def heat_supplied(self, temperature: np.ndarray, source: np.ndarray | None, duration: float) -> float:
        """Return the supplied heat (K m^d), see `Scheme.heat_supplied`."""
        return self._march(temperature, source, duration, track_heat=True)[1] * self.grid.cell_volume

    def _march(
        self, temperature: np.ndarray, source: np.ndarray | None, duration: float, track_heat: bool
    ) -> tuple[np.ndarray, float]:
        """Return the temperature after `duration` (s), and the supplied heat (K, cell sum) if tracked."""
        if not 0 < self.operator.spectral_bound < math.inf:
            raise DivergedError("the diffusivity is not finite")
        self._source[self.operator.interior] = 0.0 if source is None else source
        temperature = temperature.copy()
        next_step = self.time_step or duration
        remaining_time, supplied_heat = duration, 0.0
        while remaining_time > 0:
            num_steps = math.ceil(remaining_time / next_step * (1 - 1e-12))
            step = remaining_time / num_steps
            change, heat, error_ratio, step_factor = self._try_step(temperature, step, track_heat)
            if self.time_step is None:
                next_step = step * step_factor
                if error_ratio > 1:
                    check_shorter_step(
                        next_step, step, error_ratio, self.tolerance, self.operator.spectral_bound
                    )
                    continue
            temperature += change
            remaining_time *= (num_steps - 1) / num_steps
            supplied_heat += heat
        return temperature, supplied_heat

    def _try_step(
        self, temperature: np.ndarray, step: float, track_heat: bool
    ) -> tuple[np.ndarray, float, float, float]:
        """Return the change, the supplied heat, the ratio of error to allowed error, and the step factor."""
        self._evaluate(self._slope, temperature)
        if self.time_step is not None:
            heat = self._take_substeps(self._changes[0], temperature, step, 1, track_heat)
            return self._changes[0], heat, 0.0, 1.0
        heats: list[float] = []
        for num_results, change in enumerate(self._changes, start=1):
            heats.append(
                self._take_substeps(change, temperature, step, _SUBSTEPS[num_results - 1], track_heat)
            )
            if num_results == 1:
                allowed_error = self._allowed_error(temperature, temperature + change)
                continue
            weights = _extrapolation_weights(num_results)
            difference = _weighted_sum(
                weights - np.append(_extrapolation_weights(num_results - 1), 0.0), self._changes
            )
            error = math.sqrt(float(np.mean(difference**2)))
            if not math.isfinite(error + allowed_error):
                raise DivergedError(f"the temperature is not finite after a step of {step:.3g} s")
            error_ratio = max(error / allowed_error, 1e-6) if error > 0 else 1e-6
            if error_ratio <= 1:
                break
        step_factor = min(5.0, max(0.2, 0.8 * error_ratio ** (-1 / (2 * num_results - 1))))
        weights = damping_weights(num_results)
        return _weighted_sum(weights, self._changes), float(weights @ heats), error_ratio, step_factor

    def _allowed_error(self, *temperatures: np.ndarray) -> float:
        """Return the allowed root mean square error of a step, K."""
        deviation = max(float(np.std(u)) for u in temperatures)
        mean_square = max(float(np.mean(u**2)) for u in temperatures)
        return self.tolerance * deviation + _ROUND_OFF * math.sqrt(mean_square)

    def _take_substeps(
        self, change: np.ndarray, temperature: np.ndarray, step: float, num_substeps: int, track_heat: bool
    ) -> float:
        """Fill `change` with the change over the substeps; return the supplied heat if tracked, else 0."""
        interior, substep_length, supplied_heat = self.operator.interior, step / num_substeps, 0.0
        change.fill(0.0)
        slope = self._slope
        for substep in range(num_substeps):
            if substep > 0:
                slope = self._later_slope
                self._evaluate(slope, temperature, change)
            if track_heat:
                wall_loss = float(np.sum(self.walls.loss * (temperature + change)))
                supplied_heat += substep_length * (float(np.sum(self._source[interior])) - wall_loss)
            increment = np.multiply(slope[interior], substep_length, out=self._lines[0].cells)
            for lines in self._lines:
                increment = lines.solve(increment, substep_length / 2)
                if track_heat:
                    supplied_heat -= substep_length / 2 * lines.wall_loss()
            change += increment
        return supplied_heat

    def _evaluate(self, out: np.ndarray, temperature: np.ndarray, change: np.ndarray | float = 0.0) -> None:
        """Set out = A (u + change) + s."""
        np.add(temperature, change, out=self._state[self.operator.interior])
        self.operator.pad(self._state)
        out.fill(0.0)
        self.operator.march(self._state, out, self._source, np.array([[0.0, 0.0, 1.0, 1.0]]))


class _Lines:
    """The lines of cells along one axis, with the part A of the operator along this axis.

    Attributes:
        cells: the right side and then the solution, with this axis first.
    """

    def __init__(self, operator: DiffusionOperator, axis: int):
        grid = operator.grid
        self._axis = axis
        self._periodic = grid.boundary[axis] == "periodic"
        cells = operator.interior[axis]
        index = tuple(
            slice(cells.start, cells.stop + 1) if other_axis == axis else axis_slice
            for other_axis, axis_slice in enumerate(operator.interior)
        )
        faces = np.moveaxis(operator.faces[axis][index], axis, 0).copy()
        if not self._periodic:
            faces[[0, -1]] *= 2  # the loss w at a wall is twice the conductance of the face
        self._wall_losses = faces[[0, -1]]
        # Padding avoids row lengths of complete memory pages, which map neighbouring rows to the same cache
        # sets.
        num_lines = faces[0].size
        width = num_lines + MARGIN if num_lines % 64 == 0 else num_lines
        self._faces = np.zeros((len(faces), width))
        self._faces[:, :num_lines] = faces.reshape(len(faces), num_lines)
        self._values = np.zeros((len(faces) - 1, width))
        self.cells = self._values[:, :num_lines].reshape(-1, *faces.shape[1:])
        self._factors: dict[float, tuple[np.ndarray, np.ndarray]] = {}

    def solve(self, right_side: np.ndarray, a: float) -> np.ndarray:
        """Return the solution y of (1 - a A) y = `right_side`; the next call overwrites the solution."""
        if right_side is not self.cells:
            np.copyto(self.cells, np.moveaxis(right_side, self._axis, 0))
        if a not in self._factors:
            if len(self._factors) >= len(_SUBSTEPS):
                self._factors.clear()
            inverse = np.empty(self._values.shape)
            corner = np.empty(self._values.shape if self._periodic else (1, 1))
            factorise(inverse, corner, self._faces, a, self._periodic)
            self._factors[a] = inverse, corner
        solve(self._values, *self._factors[a], self._faces, a, self._periodic)
        return np.moveaxis(self.cells, 0, self._axis)

    def wall_loss(self) -> float:
        """Return the loss at the walls of this axis for the last solution (K/s, summed over cells)."""
        return 0.0 if self._periodic else float(np.sum(self._wall_losses * self.cells[[0, -1]]))


def _extrapolation_weights(num_results: int) -> np.ndarray:
    """Return weights of the first results that sum to 1 and cancel the errors of orders 2, 4, ..."""
    substeps = np.array(_SUBSTEPS[:num_results], dtype=float)
    conditions = [substeps ** (-2.0 * power) for power in range(num_results)]
    return np.linalg.solve(np.array(conditions), np.eye(num_results)[0])


def damping_weights(num_results: int) -> np.ndarray:
    """Return weights of one order less that also cancel waves that change sign in each substep."""
    substeps = np.array(_SUBSTEPS[:num_results], dtype=float)
    conditions = [substeps ** (-2.0 * power) for power in range(num_results - 1)]
    return np.linalg.solve(np.array([*conditions, (-1.0) ** substeps]), np.eye(num_results)[0])


def _weighted_sum(weights: np.ndarray, arrays: np.ndarray) -> np.ndarray:
    """Return the weighted sum of the first `len(weights)` arrays."""
    total: np.ndarray = weights[0] * arrays[0]
    for weight, array in zip(weights[1:], arrays[1:], strict=False):
        total += weight * array
    return total
