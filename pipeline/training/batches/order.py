"""The order of training windows, determined by the seed and the step alone."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from simsurrogate.errors import UserError


class BatchOrder:
    """The global batch of each step, and one rank's share of it in micro-batches.

    Windows are visited epoch after epoch, in an order that is reshuffled for each epoch; a batch may hold the
    end of one epoch and the start of the next. Every rank has the same number of windows at every step, and
    any number of ranks that divides the batch sees the same global batches.

    Args:
        num_windows: windows in the training split.
        batch_size: windows in a global batch.
        seed: root seed of the run.
        rank: number of this rank.
        size: number of ranks.
        num_micro_batches: micro-batches in a rank's share; one at a time is in memory.
        interval: steps from one batch of these windows to the next; steps in between have other windows.

    Attributes:
        micro_batch_size: windows in a micro-batch.
        share: slice of the global batch that belongs to this rank.

    Raises:
        UserError: the batch is not a multiple of the ranks, a rank's share is not a multiple of the
            micro-batches, or there is no window.
    """

    def __init__(
        self,
        num_windows: int,
        batch_size: int,
        seed: int,
        rank: int,
        size: int,
        *,
        num_micro_batches: int = 1,
        interval: int = 1,
    ):
        if num_windows < 1:
            raise UserError(
                "the training split has no window of training.unroll + 1 frames. A trajectory must be at "
                "least as long as a window. Lower training.unroll"
            )
        if batch_size % size:
            raise UserError(
                f"training.batch_size={batch_size} cannot be shared by {size} ranks. The batch must be a "
                f"multiple of the number of ranks. Start with one of {_divisors(batch_size)} ranks, or "
                f"change training.batch_size to a multiple of {size}"
            )
        self.num_windows = num_windows
        self.batch_size = batch_size
        self.seed = seed
        self._interval = interval
        share_size = batch_size // size
        if share_size % num_micro_batches:
            raise UserError(
                f"training.batch_size={batch_size} is {share_size} windows on each of {size} ranks, which "
                f"training.gradient_accumulation_steps={num_micro_batches} does not divide. The option may "
                f"be one of {_divisors(share_size)}. Change training.gradient_accumulation_steps"
            )
        self.num_micro_batches = num_micro_batches
        self.micro_batch_size = share_size // num_micro_batches
        self.share = slice(rank * share_size, (rank + 1) * share_size)

    def rank_windows(self, step: int) -> np.ndarray:
        """Return the windows of this rank at a step, shape (batch_size / size,)."""
        return self.global_batch(step)[self.share]

    def micro_batches(self, step: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return this rank's micro-batches of a step.

        Each micro-batch is a pair of arrays (micro_batch_size,): the positions of the windows in the global
        batch, and the indices of the windows.
        """
        positions = np.arange(self.share.start, self.share.stop)
        batch = self.global_batch(step)
        return [
            (batch_positions, batch[batch_positions])
            for batch_positions in np.split(positions, self.num_micro_batches)
        ]

    def global_batch(self, step: int) -> np.ndarray:
        """Return the windows of all ranks at a step, shape (batch_size,)."""
        global_positions = step // self._interval * self.batch_size + np.arange(self.batch_size)
        return visited_windows(self.num_windows, self.seed, global_positions)


def visited_windows(num_windows: int, seed: int, positions: np.ndarray) -> np.ndarray:
    """Return the windows at some positions of the visit, which takes one epoch after the other."""
    epochs, epoch_positions = np.divmod(positions, num_windows)
    windows = np.empty(len(positions), dtype=np.int64)
    for epoch in np.unique(epochs):
        is_in_epoch = epochs == epoch
        windows[is_in_epoch] = _epoch_order(num_windows, seed, int(epoch))[epoch_positions[is_in_epoch]]
    return windows


def _divisors(value: int) -> str:
    """Return the divisors of a number up to 1000, for a message."""
    return ", ".join(str(divisor) for divisor in range(1, min(value, 1000) + 1) if value % divisor == 0)


@lru_cache(maxsize=8)  # the end of an epoch and the start of the next, of up to four data sets
def _epoch_order(num_windows: int, seed: int, epoch: int) -> np.ndarray:
    """Return the shuffled order of an epoch."""
    bit_generator = np.random.Philox(np.random.SeedSequence([seed, epoch]))
    return np.random.Generator(bit_generator).permutation(num_windows)
