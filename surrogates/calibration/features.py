"""A few numbers that describe the inputs of a prediction, for distances from the training data.

Shape letters: B cases, C channels, F features; X stands for all sites.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from simsurrogate.spec import Spec
from surrogates.arrays import as_array

#: States of particles with at most so many values are features themselves.
_MAX_VALUES = 64
#: The largest number of particles whose pair distances are computed.
_MAX_PAIRED = 256
#: The number of bands of wave numbers, from the constant mode to the Nyquist mode.
_NUM_BANDS = 4


@dataclass(frozen=True)
class Inputs:
    """The inputs of a prediction.

    Attributes:
        spec: the spec of the problem.
        std: the standard deviation of each channel in the training data.
        initial_state: (B, C, *sites).
        parameters: the parameters by name, as `Surrogate.predict` takes them.
        uses_initial_state: whether the prediction depends on the initial state.
    """

    spec: Spec
    std: tuple[float, ...]
    initial_state: Any
    parameters: Mapping[str, Any]
    uses_initial_state: bool

    @cached_property
    def state(self) -> np.ndarray:
        """The initial state in float64."""
        return np.asarray(as_array(self.initial_state), dtype=np.float64)

    @cached_property
    def features(self) -> np.ndarray:
        """The features (B, F).

        The features are the scalar parameters and, of each channel of the initial state and of each
        coefficient field, the mean, the standard deviation, the smallest and the largest value, and on grids
        the logarithms of the shares of the variance in bands of wave numbers. The values of few particles are
        features themselves, with the logarithms of the smallest and the mean distance of two particles.
        """
        spec, size = self.spec, len(self.state)
        columns = [self._of_case(name, ())[:, None] for name in spec.parameter_names]
        fields = list(np.moveaxis(self.state, 1, 0)) if self.uses_initial_state else []
        fields += [self._of_case(name, spec.shape) for name in spec.coefficient_channels]
        num_sites = math.prod(spec.shape)
        if spec.has_particles:
            if self.uses_initial_state:
                columns.extend(_pair_distances(spec, self.state))
            is_small = num_sites * len(fields) <= _MAX_VALUES
            columns.extend(field.reshape(size, -1) if is_small else _moments(field) for field in fields)
        else:
            for field in fields:
                columns.append(field.reshape(size, -1) if num_sites == 1 else _moments(field))
                if min(spec.shape) >= 2 * _NUM_BANDS:
                    columns.append(_band_energies(field))
        return np.concatenate(columns, axis=1) if columns else np.empty((size, 0))

    def _of_case(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Return a parameter or a coefficient field of each case, (B, *shape)."""
        values = np.asarray(as_array(self.parameters[name]), np.float64)
        return np.broadcast_to(values, (len(self.state), *shape))


def _moments(field_BX: np.ndarray) -> np.ndarray:
    values = field_BX.reshape(len(field_BX), -1)
    return np.stack([values.mean(1), values.std(1), values.min(1), values.max(1)], axis=1)


def _band_energies(field_BX: np.ndarray) -> np.ndarray:
    """Return the logarithms of the shares of the variance in bands of wave numbers, (B, bands)."""
    shape = field_BX.shape[1:]
    axes = tuple(range(1, field_BX.ndim))
    power = np.abs(np.fft.rfftn(field_BX, axes=axes)) ** 2
    waves = [np.abs(np.fft.fftfreq(size)) for size in shape[:-1]] + [np.fft.rfftfreq(shape[-1])]
    largest = np.max(np.stack(np.meshgrid(*waves, indexing="ij")), axis=0)
    band = np.minimum((2 * _NUM_BANDS * largest).astype(int), _NUM_BANDS - 1)
    band.flat[0] = -1
    flat = power.reshape(len(power), -1)
    energies = np.stack([flat[:, band.ravel() == index].sum(1) for index in range(_NUM_BANDS)], axis=1)
    total = energies.sum(1, keepdims=True)
    shares: np.ndarray = np.divide(energies, total, out=np.ones_like(energies), where=total > 0)
    return np.log(shares + 1e-10)


def _pair_distances(spec: Spec, state_BCX: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the logarithms of the smallest and of the mean distance of two particles, (B, 2), if defined."""
    channels = position_channels(spec)
    num_particles = state_BCX.shape[-1]
    if not channels or not 2 <= num_particles <= _MAX_PAIRED:
        return
    position = state_BCX[:, channels]
    first, second = np.triu_indices(num_particles, 1)
    distance = np.linalg.norm(position[:, :, first] - position[:, :, second], axis=1)
    yield np.log(np.stack([distance.min(1), distance.mean(1)], axis=1) + 1e-12)


def position_channels(spec: Spec) -> Sequence[int]:
    """Return the channels of the vector field `position`; empty without such a field."""
    for field, channels in zip(spec.fields, spec.field_channels, strict=True):
        if field.name == "position":
            return channels
    return ()
