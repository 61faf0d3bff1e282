"""Which windows make up a training step: determined by the seed and the step alone."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from simsurrogate.errors import UserError


class Batches:
    """The global batches of a training run, and one rank's share of each, in parts.

    `at_once` is the number of windows in a part.

    The windows are dealt out epoch after epoch, in an order that is shuffled anew for each; a batch may
    hold the end of one epoch and the start of the next. Every rank has the same number of windows at
    every step, and any number of ranks that divides the batch sees the same global batches.

    Args:
        num_windows: windows in the training split.
        batch_size: windows in a global batch.
        seed: root seed of the run.
        rank, size: this rank's place.
        num_parts: parts of a rank's share, of which one at a time is in memory.

    Raises:
        UserError: the batch cannot be shared equally among the ranks, or a share among its parts, or
            there is no window.
    """

    def __init__(
        self, num_windows: int, batch_size: int, seed: int, rank: int, size: int, *, num_parts: int = 1
    ):
        if num_windows < 1:
            raise UserError(
                "the training split has no window of training.unroll + 1 frames: lower training.unroll"
            )
        if batch_size % size:
            legal = [count for count in range(1, batch_size + 1) if batch_size % count == 0]
            raise UserError(
                f"training.batch_size={batch_size} cannot be shared by {size} ranks: start with one of "
                f"{', '.join(map(str, legal))} ranks, or change it to a multiple of {size}"
            )
        self.num_windows = num_windows
        self.batch_size = batch_size
        self.seed = seed
        share = batch_size // size
        if share % num_parts:
            legal = [count for count in range(1, share + 1) if share % count == 0]
            raise UserError(
                f"training.batch_size={batch_size} is {share} windows on each of {size} ranks, which "
                f"training.gradient_accumulation_steps={num_parts} does not divide: set it to one of "
                f"{', '.join(map(str, legal))}"
            )
        self.num_parts = num_parts
        self.at_once = share // num_parts
        self.mine = slice(rank * share, (rank + 1) * share)

    def at(self, step: int) -> np.ndarray:
        """The windows of this rank at a step, (batch_size / size,)."""
        return self.global_batch(step)[self.mine]

    def parts(self, step: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """The parts of this rank's share of a step: the windows' places in the global batch, and the
        windows.
        """
        places = np.arange(self.mine.start, self.mine.stop)
        batch = self.global_batch(step)
        return [(part, batch[part]) for part in np.split(places, self.num_parts)]

    def global_batch(self, step: int) -> np.ndarray:
        """The windows of all ranks at a step, (batch_size,)."""
        positions = step * self.batch_size + np.arange(self.batch_size)
        epochs, places = np.divmod(positions, self.num_windows)
        batch = np.empty(self.batch_size, dtype=np.int64)
        for epoch in np.unique(epochs):
            chosen = epochs == epoch
            batch[chosen] = _order(self.num_windows, self.seed, int(epoch))[places[chosen]]
        return batch


@lru_cache(maxsize=2)
def _order(num_windows: int, seed: int, epoch: int) -> np.ndarray:
    """The shuffled order of an epoch."""
    bits = np.random.Philox(np.random.SeedSequence([seed, epoch]))
    return np.random.Generator(bits).permutation(num_windows)
