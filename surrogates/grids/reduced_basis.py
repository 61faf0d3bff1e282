"""The reduced basis of the training frames: proper orthogonal decomposition in bounded memory, over ranks.

Shape letters: M frames of a chunk, D values of a frame (channels and sites), L columns of the sketch,
K modes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from simsurrogate.memory import require_memory
from surrogates.contract import TrainingFrames

#: The additional columns of the sketch, which make the last modes accurate.
_OVERSAMPLING = 10
#: The arrays (L, D) in memory at once: the sketch, its new sum, and the factorisation of one of them.
_NUM_SKETCHES = 4
#: The smallest singular value of a mode, relative to the largest one. Smaller ones are round-off.
_LEAST_RATIO = 1e-7
#: The size of deviations from the mean frame that are round-off, relative to the mean frame.
_ROUND_OFF = 1e-12
#: The seeds of the sketch and of the vector that determines the signs of the modes.
_SKETCH_STREAM, _SIGN_SEED = 0x706F64, 0


@dataclass(frozen=True)
class ReducedBasis:
    """The mean of the frames and their leading modes, in float64.

    Attributes:
        mean: the mean frame, (D,).
        modes: orthonormal rows in order of their variance, (K, D).
        deviations: the root mean square over the frames of the coefficient of each mode, (K,).
        left_out: the share of the variance about the mean that the modes leave out.
    """

    mean: torch.Tensor
    modes: torch.Tensor
    deviations: torch.Tensor
    left_out: float


def reduced_basis(
    frames: TrainingFrames,
    normalise: Callable[[torch.Tensor], torch.Tensor],
    *,
    num_values: int,
    device: torch.device,
    max_modes: int,
    left_out: float,
) -> ReducedBasis:
    """Return the fewest modes that leave out at most `left_out` of the variance, and at most `max_modes`.

    Equal frames have no modes.

    The modes are the leading left singular vectors of the frames minus their mean. A random sketch of the
    frames with one power iteration gives their range (Halko, Martinsson & Tropp 2011,
    doi:10.1137/090771806, algorithm 4.4). The frames are read three times, one chunk after the other, and the
    memory does not depend on their number. All sums are over the ranks. The random numbers of a frame follow
    from its index, so the basis does not depend on the number of ranks and on the chunks, up to round-off.
    The sign of a mode makes its product with a fixed random vector positive.

    Args:
        frames: the training frames.
        normalise: the map from states (M, C, *sites) to rows of float64 (M, D).
        num_values: D.
        device: the device of the computation.
        max_modes: the largest number of modes.
        left_out: the allowed share of the variance without the modes.

    Raises:
        UserError: the sketch needs more memory than is free.
    """
    size = min(max_modes + _OVERSAMPLING, frames.num_frames, num_values)
    require_memory(
        _NUM_SKETCHES * 8 * size * num_values,
        f"the computation of {max_modes} modes of {num_values} values",
        "a smaller surrogate.modes",
    )
    mean = torch.zeros(num_values, dtype=torch.float64, device=device)
    sketch = _sketch(frames, normalise, mean, size)
    directions_DL = torch.linalg.qr(sketch.T).Q
    sketch.zero_()
    for _, states in frames:
        rows_MD = normalise(states) - mean
        sketch += (rows_MD @ directions_DL).T @ rows_MD
    directions_DL = torch.linalg.qr(frames.sum(sketch).T).Q
    triangle_LL, total = _triangle(frames, normalise, mean, directions_DL)
    if total <= frames.num_frames * _ROUND_OFF**2 * float(mean.square().sum()):
        return ReducedBasis(mean, directions_DL.T[:0], mean[:0], 0.0)
    _, singular_values, rotation = torch.linalg.svd(triangle_LL)
    energies = singular_values.square()
    remainders = 1 - energies.cumsum(0) / total
    num_significant = int((singular_values > _LEAST_RATIO * singular_values[0]).sum())
    num_needed = int((remainders > left_out).sum()) + 1
    num_modes = min(num_needed, num_significant, max_modes)
    modes_KD = rotation[:num_modes] @ directions_DL.T
    return ReducedBasis(
        mean,
        modes_KD * _signs(modes_KD)[:, None],
        (energies[:num_modes] / frames.num_frames).sqrt(),
        max(float(remainders[num_modes - 1]), 0.0),
    )


def _sketch(
    frames: TrainingFrames, normalise: Callable[[torch.Tensor], torch.Tensor], mean: torch.Tensor, size: int
) -> torch.Tensor:
    """Fill `mean` (D,) with the mean of the frames; return random combinations of the deviations (L, D)."""
    sketch, weight_sums = mean.new_zeros(size, len(mean)), mean.new_zeros(size)
    for indices, states in frames:
        rows_MD = normalise(states)
        weights_ML = _random_weights(indices, size).to(rows_MD)
        sketch += weights_ML.T @ rows_MD
        weight_sums += weights_ML.sum(0)
        mean += rows_MD.sum(0)
    mean.copy_(frames.sum(mean) / frames.num_frames)
    return frames.sum(sketch) - frames.sum(weight_sums)[:, None] * mean


def _random_weights(indices: np.ndarray, size: int) -> torch.Tensor:
    """Return standard normal numbers (M, L) that the indices of the frames determine."""
    seeds = [np.random.SeedSequence([_SKETCH_STREAM, int(index)]) for index in indices]
    return torch.from_numpy(
        np.stack([np.random.Generator(np.random.Philox(seed)).standard_normal(size) for seed in seeds])
    )


def _triangle(
    frames: TrainingFrames,
    normalise: Callable[[torch.Tensor], torch.Tensor],
    mean: torch.Tensor,
    directions_DL: torch.Tensor,
) -> tuple[torch.Tensor, float]:
    """Return the triangular factor (L, L) of all frames along the directions, and their sum of squares.

    The factor is updated chunk by chunk. The sum of products would square the singular values and lose the
    digits of the small ones.
    """
    size = directions_DL.shape[1]
    triangle_LL, total = mean.new_zeros(size, size), mean.new_zeros(())
    for _, states in frames:
        rows_MD = normalise(states) - mean
        total += rows_MD.square().sum()
        triangle_LL = torch.linalg.qr(torch.cat([triangle_LL, rows_MD @ directions_DL]), mode="r").R
    return torch.linalg.qr(frames.gather(triangle_LL).flatten(0, 1), mode="r").R, float(frames.sum(total))


def _signs(modes_KD: torch.Tensor) -> torch.Tensor:
    """Return the sign of the product of each mode with a fixed random vector."""
    generator = torch.Generator().manual_seed(_SIGN_SEED)
    direction_D = torch.randn(modes_KD.shape[1], generator=generator, dtype=torch.float64).to(modes_KD)
    return torch.where(modes_KD @ direction_D < 0, -1.0, 1.0).to(modes_KD)
