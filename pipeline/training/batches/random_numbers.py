"""Random numbers for the points at which a surrogate judges itself."""

from __future__ import annotations

import numpy as np
import torch

from surrogates.contract import Batch

#: Tells these numbers from all others that follow from a seed, a step and a place.
_STREAM = 0x756E69


def with_uniform(batch: Batch, count: int, *, seed: int, step: int, places: np.ndarray) -> Batch:
    """The batch with `uniform` (B, count), numbers in [0, 1), where the count is not 0.

    Those of a window follow from the seed, the step, and its place in the global batch, on any number of
    ranks.
    """
    if count == 0:
        return batch
    like = batch["state"]
    # Rounded to float32, a number of float64 may be 1.
    kind = np.float64 if like.dtype == torch.float64 else np.float32
    drawn = np.empty((len(places), count), kind)
    for row, place in zip(drawn, places, strict=True):
        bits = np.random.Philox(np.random.SeedSequence([seed, step, int(place), _STREAM]))
        np.random.Generator(bits).random(out=row, dtype=kind)
    return {**batch, "uniform": torch.from_numpy(drawn).to(like)}
