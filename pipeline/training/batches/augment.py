"""Random numbers that training adds to a batch: noise on the first frame, and draws for a surrogate's points.

The numbers of a window are determined by the seed, the step, and the window's place in the global batch, on
any number of ranks.
"""

from __future__ import annotations

import numpy as np
import torch

from surrogates.contract import Batch, Problem

#: Separates the draws of `with_random` from all other numbers of the same seed, step and place.
_DRAWS_STREAM = 0x756E69


def with_noise(
    batch: Batch, problem: Problem, scale: float, *, seed: int, step: int, places: np.ndarray
) -> Batch:
    """Return the batch with Gaussian noise on the first frame of each window.

    The noise accustoms a surrogate to the errors that a rollout feeds back. The later frames, which the
    surrogate learns to predict, keep their values. `scale` is the standard deviation of the noise, in
    standard deviations of each channel over the training split; `places` (B,) are the windows' places in the
    global batch.

    Source: Sanchez-Gonzalez et al. 2020, "Learning to Simulate Complex Physics with Graph Networks"
    (arXiv 2002.09405), section 4.3.
    """
    if scale == 0:
        return batch
    state = batch["state"].clone()
    std = torch.tensor(problem.statistics.std, dtype=torch.float64).view(-1, *[1] * len(problem.spec.shape))
    for window, place in zip(state, places, strict=True):
        words = np.random.SeedSequence([seed, step, int(place)]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(words[0] >> np.uint64(1)))
        normal = torch.randn(window[0].shape, generator=generator, dtype=torch.float64)
        window[0] += (scale * std * normal).to(state)
    return {**batch, "state": state}


def with_random(batch: Batch, count: int, *, seed: int, step: int, places: np.ndarray) -> Batch:
    """Return the batch with `random` (B, count), uniform numbers in [0, 1), if `count` is not 0.

    `count` is `Surrogate.num_random`; `places` (B,) are the windows' places in the global batch.
    """
    if count == 0:
        return batch
    like = batch["state"]
    # Rounded to float32, a float64 number just below 1 becomes 1.
    dtype = np.float64 if like.dtype == torch.float64 else np.float32
    draws = np.empty((len(places), count), dtype)
    for row, place in zip(draws, places, strict=True):
        bits = np.random.Philox(np.random.SeedSequence([seed, step, int(place), _DRAWS_STREAM]))
        np.random.Generator(bits).random(out=row, dtype=dtype)
    return {**batch, "random": torch.from_numpy(draws).to(like)}
