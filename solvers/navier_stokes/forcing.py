"""What drives the vorticity: nothing, steady waves, or a ring of random waves."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from simsurrogate.errors import UserError
from simsurrogate.spec import Field, Parameter
from solvers.contract import Parameters
from solvers.navier_stokes.options import ForcingOptions
from solvers.navier_stokes.resolution import cells_that_keep
from solvers.numerics.dealiased_fourier import FourierSlabs, largest_kept


class Forcing(ABC):
    """f (s^-2) on the right side of the vorticity equation.

    Attributes:
        parameters: the scalars that are drawn.
        fields: the steady field, where there is one, as a coefficient field.
        parametric: the drawn scalars alone determine it.
        strain: the greatest rate at which it is expected to strain the flow, 1/s.
    """

    parameters: tuple[Parameter, ...] = ()
    fields: tuple[Field, ...] = ()
    strain = 0.0
    parametric = True

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Whatever else determines the forcing, by name."""
        return {}

    def field(self, parameters: Parameters) -> np.ndarray | None:
        """The steady field on this rank's block, where there is one."""
        return None

    @abstractmethod
    def constant_intervals(
        self, steady: np.ndarray, parameters: Parameters, time: float, duration: float
    ) -> Iterator[tuple[float, np.ndarray]]:
        """Cuts a span of time where f changes: the length (s) of each piece and the coefficients of f in it.

        `steady` are those of `field`, or zeros.
        """


class Unforced(Forcing):
    """No forcing."""

    def __init__(self, slabs: FourierSlabs, options: ForcingOptions):
        pass

    def constant_intervals(
        self, steady: np.ndarray, parameters: Parameters, time: float, duration: float
    ) -> Iterator[tuple[float, np.ndarray]]:
        """See `Forcing.constant_intervals`."""
        yield duration, steady


class Steady(Forcing):
    """A wave that stands still; it strains the flow at about the root of its root mean square."""

    def __init__(self, slabs: FourierSlabs, options: ForcingOptions):
        self.grid = slabs.grid
        self.options = options
        self.parameters = (
            Parameter("forcing_amplitude", "s^-2", "amplitude of the forcing", *options.amplitude),
        )
        self.fields = (Field("forcing", "s^-2", "forcing of the vorticity, steady"),)
        self.strain = float(np.sqrt(self.mean_square**0.5 * options.amplitude[1]))

    #: Of the wave of amplitude 1.
    mean_square: float

    @abstractmethod
    def wave(self, coordinates: Mapping[str, Any], xp: Any) -> Any:
        """The wave of amplitude 1 at any points, see `Solver.initial_condition`."""

    def field(self, parameters: Parameters) -> np.ndarray:
        """See `Forcing.field`."""
        wave = np.broadcast_to(self.wave(self.grid.mesh, np), self.grid.block_shape)
        field: np.ndarray = parameters["forcing_amplitude"] * wave
        return field

    def constant_intervals(
        self, steady: np.ndarray, parameters: Parameters, time: float, duration: float
    ) -> Iterator[tuple[float, np.ndarray]]:
        """See `Forcing.constant_intervals`."""
        yield duration, steady


class Kolmogorov(Steady):
    """A sin(n 2 pi y / L_y)."""

    mean_square = 0.5

    def __init__(self, slabs: FourierSlabs, options: ForcingOptions):
        super().__init__(slabs, options)
        number, most = options.wave_number, largest_kept(self.grid.resolution[1])
        if number > most:
            raise UserError(
                f"forcing.wave_number={number} is beyond the {most} waves that "
                f"resolution={list(self.grid.resolution)} keeps along y; use at least "
                f"{cells_that_keep(number)} cells there, or a smaller number"
            )

    def wave(self, coordinates: Mapping[str, Any], xp: Any) -> Any:
        """See `Steady.wave`."""
        wave_number = 2 * np.pi * self.options.wave_number / self.grid.extent[1]
        return xp.sin(wave_number * coordinates["y"])


class Diagonal(Steady):
    """A (sin p + cos p), p = 2 pi (x / L_x + y / L_y); A = 0.1 s^-2 in Li et al. (2021, arXiv:2010.08895)."""

    mean_square = 1.0

    def wave(self, coordinates: Mapping[str, Any], xp: Any) -> Any:
        """See `Steady.wave`."""
        phase = sum(2 * np.pi / self.grid.extent[axis] * coordinates["xy"[axis]] for axis in self.grid.axes)
        return xp.sin(phase) + xp.cos(phase)


class Ring(Forcing):
    """Random waves on a ring of wave numbers, constant over a renewal interval and then drawn anew.

    Interval k of a trajectory is drawn by a counter-based generator from (key, k) alone, so f at any time is
    known without what came before. Each wave has the same mean square of velocity, and their sum, F, has
    <F^2> = 2 e / T: independent forces that last T give <F^2> T / 2 = e (m^2/s^3) in the mean, as long as
    the flow changes little in T (Alvelius 1999, doi:10.1063/1.870050, for white noise).
    """

    parametric = False

    def __init__(self, slabs: FourierSlabs, options: ForcingOptions):
        self.slabs = slabs
        self.options = options
        self.parameters = (
            Parameter("injection_rate", "m^2/s^3", "mean energy injected a second", *options.injection_rate),
        )
        grid = slabs.grid
        low, high = options.ring
        reach = [int(high * length / (2 * np.pi)) for length in grid.extent]
        x, y = np.meshgrid(np.arange(-reach[0], reach[0] + 1), np.arange(reach[1] + 1), indexing="ij")
        self._squared = (2 * np.pi * x / grid.extent[0]) ** 2 + (2 * np.pi * y / grid.extent[1]) ** 2
        # Each wave once: of (x, 0) and (-x, 0) the one with x > 0.
        chosen = (low**2 <= self._squared) & (self._squared <= high**2) & ((y > 0) | (x > 0))
        self._x, self._y, self._squared = x[chosen], y[chosen], self._squared[chosen]
        if not len(self._x):
            longest = ", ".join(f"{2 * np.pi / length:.4g}" for length in grid.extent)
            raise UserError(
                f"forcing.ring=[{low:g}, {high:g}] rad/m holds no wave of extent={list(grid.extent)}, whose "
                f"waves along the axes are multiples of {longest} rad/m; use a wider ring"
            )
        if high > min(slabs.largest):
            enough = [
                max(cells_that_keep(math.ceil(high * length / (2 * np.pi))), count)
                for length, count in zip(grid.extent, grid.resolution, strict=True)
            ]
            raise UserError(
                f"forcing.ring reaches {high:g} rad/m, beyond the {min(slabs.largest):.4g} rad/m that "
                f"resolution={list(grid.resolution)} keeps; use resolution={enough} or finer, "
                "or a smaller ring"
            )
        self.strain = float((options.injection_rate[1] * np.max(self._squared)) ** (1 / 3))

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """The key of the trajectory's forcing: two integers below 2^32."""
        return {"forcing_key": rng.integers(2**32, size=2).astype(np.float64)}

    def constant_intervals(
        self, steady: np.ndarray, parameters: Parameters, time: float, duration: float
    ) -> Iterator[tuple[float, np.ndarray]]:
        """See `Forcing.constant_intervals`."""
        renewal, end = self.options.renewal, time + duration
        # The start of a frame that is meant to fall on a renewal may miss it by round-off.
        interval = int(np.floor(time / renewal + 1e-9))
        while time < end - 1e-9 * renewal:
            stop = min((interval + 1) * renewal, end)
            yield stop - time, self._coefficients(parameters, interval)
            time, interval = stop, interval + 1

    def _coefficients(self, parameters: Parameters, interval: int) -> np.ndarray:
        low, high = (int(part) for part in parameters["forcing_key"])
        rng = np.random.Generator(np.random.Philox(key=[low + (high << 32), interval]))
        draws = rng.standard_normal((2, len(self._x)))
        # A wave Re(c exp(i k x)) of the vorticity has the mean square |c|^2 / 2 k^2 of velocity.
        power = 4 * parameters["injection_rate"] / (self.options.renewal * len(self._x))
        waves = np.sqrt(power * self._squared / 2) * (draws[0] + 1j * draws[1])
        return self._placed(waves)

    def _placed(self, waves: np.ndarray) -> np.ndarray:
        """Coefficients of the waves on this rank: half of each, and its conjugate where y = 0."""
        grid, slabs = self.slabs.grid, self.slabs
        phase = np.pi * (
            self._x / grid.resolution[0] + self._y / grid.resolution[1]
        )  # of the first cell's centre
        values = np.prod(grid.resolution) / 2 * waves * np.exp(1j * phase)
        coefficients = np.zeros(slabs.shape, complex)
        mine = (slabs.columns.start <= self._y) & (self._y < slabs.columns.stop)
        columns = self._y[mine] - slabs.columns.start
        coefficients[self._x[mine], columns] = values[mine]
        on_axis = mine & (self._y == 0)
        coefficients[-self._x[on_axis], 0] = values[on_axis].conj()
        return coefficients


FORCINGS: dict[str, type[Unforced | Kolmogorov | Diagonal | Ring]] = {
    "none": Unforced,
    "kolmogorov": Kolmogorov,
    "diagonal": Diagonal,
    "ring": Ring,
}
