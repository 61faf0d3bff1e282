"""Energy spectra of fields on a grid, with any boundary conditions.

Shape letters: `*sites` are the cells; S shells of wave numbers; K three bands of wave numbers.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from simsurrogate.spec import Spec

#: The bands of PDEBench by |k| L / 2π, with L the longest axis: low < 4 <= middle < 12 <= high.
BANDS = ("low", "middle", "high")
_BAND_EDGES = (0.0, 4.0, 12.0, np.inf)


class Spectrum:
    """The distribution of a field's mean square over wave numbers.

        ⟨f²⟩ = Σ_k P(k),    E(s) = Σ of P(k) over the shell  s − 1/2 <= |k| L / 2π < s + 1/2

    Periodic axes are expanded in Fourier modes, wave number 2π m / extent. All other axes are expanded in
    cosines (DCT-II), wave number π m / extent, which need no periodic continuation (Denis, Côté & Laprise
    2002, doi:10.1175/1520-0493(2002)130<1812:SDOTDA>2.0.CO;2). Both expansions are orthogonal, so the powers
    add up to the mean square. L is the extent of the longest axis.

    Attributes:
        wave_numbers: the wave number of each shell (S,), rad per unit of length, without the mean. The last
            shell is the last one that all axes resolve.
        has_band: whether the grid has wave numbers in each band of `BANDS`.
    """

    def __init__(self, spec: Spec):
        self._shape = spec.shape
        self._is_periodic = [axis.boundary == "periodic" for axis in spec.axes]
        longest_extent = max(spec.extent)
        components = [
            longest_extent / axis.extent * np.abs(np.fft.fftfreq(axis.size, 1 / axis.size))
            if axis.boundary == "periodic"
            else longest_extent / axis.extent * np.arange(axis.size) / 2
            for axis in spec.axes
        ]
        magnitudes = np.sqrt(
            sum(component**2 for component in np.meshgrid(*components, indexing="ij", sparse=True))
        )
        # Rounded, so that a wave number on an edge belongs to the shell and to the band that begin there.
        wave_number = np.round(np.broadcast_to(magnitudes, self._shape).ravel(), 9)
        self._shell = np.floor(wave_number + 0.5).astype(int)
        last_shell = int(min(component.max() for component in components) + 1e-9)
        self.wave_numbers = 2 * np.pi / longest_extent * np.arange(1, last_shell + 1)
        self._band_masks = np.array(
            [(low <= wave_number) & (wave_number < high) for low, high in pairwise(_BAND_EDGES)],
            np.float64,
        )
        self.has_band = {name: bool(mask.any()) for name, mask in zip(BANDS, self._band_masks, strict=True)}

    def power(self, values: np.ndarray) -> np.ndarray:
        """Return P(k) of fields (..., *sites), an array (..., cells) whose sum over cells is ⟨f²⟩."""
        # Imported late, because the import takes a third of a second.
        from scipy import fft

        first = values.ndim - len(self._shape)
        periodic: list[int] = []
        others: list[int] = []
        for axis, is_periodic in enumerate(self._is_periodic, start=first):
            (periodic if is_periodic else others).append(axis)
        modes = fft.dctn(values, axes=others, norm="ortho") if others else values
        if periodic:
            modes = fft.fftn(modes, axes=periodic, norm="ortho")
        power: np.ndarray = np.square(np.abs(modes)) / np.prod(self._shape)
        return power.reshape(*values.shape[:first], -1)

    def shells(self, power: np.ndarray) -> np.ndarray:
        """Return E(s) of each shell (..., S) of the result of `power` (..., cells)."""
        rows = power.reshape(-1, power.shape[-1])
        num_shells = int(self._shell.max()) + 1
        indices = self._shell + num_shells * np.arange(len(rows))[:, None]
        sums = np.bincount(indices.ravel(), rows.ravel(), num_shells * len(rows)).reshape(-1, num_shells)
        return sums[:, 1 : len(self.wave_numbers) + 1].reshape(*power.shape[:-1], -1)

    def bands(self, power: np.ndarray) -> np.ndarray:
        """Return the part of the mean square in each band (..., K), of the result of `power` (..., cells)."""
        return power @ self._band_masks.T
