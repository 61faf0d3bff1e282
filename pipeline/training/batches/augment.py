"""Random numbers that training adds to a batch: noise on the first frame, and draws for a surrogate's points.

The seed, the step, and the window's position in the global batch determine the numbers of a window, on any
number of ranks.
"""

from __future__ import annotations

import numpy as np
import torch

from surrogates.contract import Batch, Problem

#: The number that separates the draws of `with_random` from other numbers of a seed, step and position.
_DRAWS_STREAM = 0x756E69


def with_noise(
    batch: Batch, problem: Problem, scale: float, *, seed: int, step: int, positions: np.ndarray
) -> Batch:
    """Return the batch with Gaussian noise on the first frame of each window.

    The noise accustoms a surrogate to the errors that a rollout feeds back. The later frames, which the
    surrogate learns to predict, keep their values. `scale` is the standard deviation of the noise, in
    standard deviations of each channel over the training split; `positions` (B,) are the windows' positions
    in the global batch.

    Source: Sanchez-Gonzalez et al. 2020, "Learning to Simulate Complex Physics with Graph Networks"
    (arXiv 2002.09405), section 4.3.
    """
    if scale == 0:
        return batch
    state = batch["state"].clone()
    std = torch.tensor(problem.statistics.std, dtype=torch.float64).view(-1, *[1] * len(problem.spec.shape))
    for window, position in zip(state, positions, strict=True):
        seed_words = np.random.SeedSequence([seed, step, int(position)]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(seed_words[0] >> np.uint64(1)))
        unit_noise = torch.randn(window[0].shape, generator=generator, dtype=torch.float64)
        window[0] += (scale * std * unit_noise).to(state)
    return {**batch, "state": state}


def with_random(batch: Batch, count: int, *, seed: int, step: int, positions: np.ndarray) -> Batch:
    """Return the batch with `random` (B, count), uniform numbers in [0, 1), if `count` is not 0.

    `count` is `Surrogate.num_random`; `positions` (B,) are the windows' positions in the global batch.
    """
    if count == 0:
        return batch
    like = batch["state"]
    # Rounded to float32, a float64 number just below 1 becomes 1.
    dtype = np.float64 if like.dtype == torch.float64 else np.float32
    draws = np.empty((len(positions), count), dtype)
    for row, position in zip(draws, positions, strict=True):
        bit_generator = np.random.Philox(np.random.SeedSequence([seed, step, int(position), _DRAWS_STREAM]))
        np.random.Generator(bit_generator).random(out=row, dtype=dtype)
    return {**batch, "random": torch.from_numpy(draws).to(like)}
