"""The transform between the state of a flow on the grid and the Fourier coefficients of the state."""

from __future__ import annotations

import math

import numpy as np

from solvers.navier_stokes import kernels
from solvers.numerics.dealiased_fourier import FourierSlabs, PlaneTransform


class StateTransform:
    """The transform between a state and its kept coefficients, in both directions.

    A state (channels, *block) holds vorticity, velocity_x, velocity_y and an optional tracer. The
    coefficients (fields, *slabs.shape) of the vorticity and the tracer are not normalised. All ranks call
    each method together.

    Args:
        slabs: the coefficients of this rank.
        num_fields: the number of fields: 1, or 2 with a tracer.

    Attributes:
        scale: 1 / n for n cells, the factor that normalises coefficients.
        waves: the tuple (kx, ky, stream) of `kernels`, in rad/m, rad/m and m^2/rad^2.
    """

    def __init__(self, slabs: FourierSlabs, num_fields: int):
        self.slabs = slabs
        self.num_fields = num_fields
        self.scale = 1 / math.prod(slabs.grid.resolution)
        squared = slabs.even_squared_wave_numbers
        stream = np.divide(self.scale, squared, out=np.zeros_like(squared), where=squared > 0)
        self.waves = (*slabs.wave_numbers, stream)
        self._plane = PlaneTransform(slabs, 1)

    def coefficients(self, fields: np.ndarray) -> np.ndarray:
        """Return the coefficients (fields, *slabs.shape) of one or two real fields (fields, *block)."""
        plane = self._plane
        # One complex transform serves both real fields.
        plane.physical[0].real, plane.physical[0].imag = fields[0], fields[1] if len(fields) > 1 else 0.0
        plane.forward()
        plus, minus = self.slabs.compact(plane.coefficients[0])
        spectra = [(plus + minus.conj()) / 2, (plus - minus.conj()) / 2j]
        return np.array(spectra[: len(fields)])

    def all_rows(self, even_rows: np.ndarray) -> np.ndarray:
        """Return values (fields, *slabs.shape) that are even in kx, from their rows with kx >= 0."""
        num_rows = self.slabs.shape[0]
        return even_rows[:, np.minimum(np.arange(num_rows), num_rows - np.arange(num_rows))]

    def state_coefficients(self, state: np.ndarray) -> np.ndarray:
        """Return the coefficients of the vorticity and the tracer of a state; the velocity is ignored."""
        return self.coefficients(state[[0, *range(3, len(state))]])

    def state(self, coefficients: np.ndarray) -> np.ndarray:
        """Return the state with these coefficients; the velocity follows from the vorticity."""
        plane, scale = self._plane, self.scale
        state = np.empty((len(coefficients) + 2, *self.slabs.grid.block_shape))
        kernels.velocity_coefficients(plane.coefficients, coefficients[:1], self.waves, scale)
        plane.inverse()
        state[1], state[2] = plane.physical[0].real, plane.physical[0].imag
        has_tracer = len(coefficients) == 2
        tracer = 1j * coefficients[1] if has_tracer else 0.0
        self.slabs.expand(
            scale * np.array([coefficients[0] + tracer, (coefficients[0] - tracer).conj()]),
            plane.coefficients[0],
        )
        plane.inverse()
        state[0] = plane.physical[0].real
        if has_tracer:
            state[3] = plane.physical[0].imag
        return state

    def without_mean_vorticity(self, fields: np.ndarray) -> np.ndarray:
        """Return the state of a vorticity and an optional tracer (fields, *block), with zero mean vorticity.

        The result has only the waves that the grid keeps.
        """
        coefficients = self.coefficients(fields)
        coefficients[0, self.slabs.squared_wave_numbers == 0] = 0.0
        return self.state(coefficients)
