"""Noise on the state that a surrogate starts from, against the errors that a roll-out feeds back.

Source: Sanchez-Gonzalez et al. 2020, "Learning to Simulate Complex Physics with Graph Networks"
(arXiv 2002.09405), section 4.3.
"""

from __future__ import annotations

import numpy as np
import torch

from surrogates.contract import Batch, Problem


def with_noise(
    batch: Batch, problem: Problem, scale: float, *, seed: int, step: int, places: np.ndarray
) -> Batch:
    """The batch with Gaussian noise on the first frame of each window; the frames to predict stay.

    `scale` is in units of each channel's standard deviation over the training split. The noise of a
    window follows from the seed, the step, and its place in the global batch, on any number of ranks.
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
