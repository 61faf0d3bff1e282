"""The modes that a trained Fourier network uses for one prediction.

Shape letters: M modes, B cases, C channels; 2 is the real and the imaginary part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from pipeline.evaluation.intervals.result import ModeShare
from surrogates.networks.spectral_convolution import SpectralConvolution, TruncatedFourier

#: The number of modes in metrics.json.
_NUM_LISTED = 8


class ModeUse:
    """The mean square of the outputs of spectral convolutions by mode, collected while a network computes.

    By Parseval's theorem the mean square of a field is the sum of |v̂(k)|² over all modes; the modes k and -k
    of a real field count together. Each call of a layer has the weight 1.
    """

    def __init__(self) -> None:
        self._waves: np.ndarray | None = None
        self._shares: list[np.ndarray] = []

    @property
    def is_empty(self) -> bool:
        """Whether no spectral convolution was called."""
        return not self._shares

    def listed(self) -> list[ModeShare]:
        """Return the modes with the largest shares, largest first."""
        if self.is_empty:
            return []
        share, waves = self._mean()
        order = np.argsort(-share, kind="stable")[:_NUM_LISTED]
        return [ModeShare(waves=waves[index].tolist(), share=float(share[index])) for index in order]

    def by_size(self) -> np.ndarray:
        """Return the shares of the modes of each size, the largest absolute wave number of a mode."""
        share, waves = self._mean()
        return np.bincount(np.abs(waves).max(axis=1).astype(int), weights=share)

    def add(self, layer: SpectralConvolution, field: torch.Tensor, fourier: TruncatedFourier) -> None:
        """Add the output of a layer for a field (*sites, B, C)."""
        modes_M2BC = fourier.analyse(field.detach())
        modes_MBC = torch.complex(modes_M2BC[:, 0], modes_M2BC[:, 1])
        weight = layer.weight.detach()
        energy_M = (modes_MBC @ torch.complex(weight[:, :, 0], weight[:, :, 1])).abs().square().sum((1, 2))
        waves = _wave_vectors(fourier)
        energy = energy_M.double().numpy(force=True) * np.where(waves[:, 0] > 0, 2.0, 1.0)
        if self._waves is None:
            self._waves = waves
        # Layers of other sizes, such as those of several members, have other modes.
        if energy.sum() > 0 and waves.shape == self._waves.shape:
            self._shares.append(energy / energy.sum())

    def _mean(self) -> tuple[np.ndarray, np.ndarray]:
        assert self._waves is not None
        return np.mean(self._shares, axis=0), self._waves


@contextmanager
def watched_modes(network: torch.nn.Module) -> Iterator[ModeUse]:
    """Collect the use of modes of all spectral convolutions of a network while it computes with gradients."""
    use = ModeUse()

    def hook(layer: torch.nn.Module, arguments: tuple[Any, ...], _: torch.Tensor) -> None:
        assert isinstance(layer, SpectralConvolution)
        use.add(layer, arguments[0], arguments[1])

    layers = [module for module in network.modules() if isinstance(module, SpectralConvolution)]
    removals: list[Callable[[], None]] = [layer.register_forward_hook(hook).remove for layer in layers]
    try:
        yield use
    finally:
        for remove in removals:
            remove()


def _wave_vectors(fourier: TruncatedFourier) -> np.ndarray:
    """Return the wave numbers of each mode along each axis, (M, axes), see `TruncatedFourier`."""
    axes = [np.arange(len(fourier.get_buffer("to_modes_0")) // 2)]
    for axis in range(1, len(fourier.sites)):
        count = fourier.get_buffer(f"to_modes_{axis}").shape[-2] // 2
        axes.append(np.arange(count) - count // 2)
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
