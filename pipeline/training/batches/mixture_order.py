"""The order of the windows of a mixture: how many windows of each source a batch has, and which ones."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence

import numpy as np

from pipeline.data.mixture import Mixture
from pipeline.training.batches.order import BatchOrder, visited_windows

#: The number that separates the draws of the places in a batch from other numbers of a seed and step.
_STREAM = 0x6D6978


class MixtureOrder(BatchOrder):
    """The global batch of each step of a mixture, see `BatchOrder`.

    With the shares w_i(t) of the schedule and B windows in a batch, source i has the quota
    Q_i(s) = B Σ_{t<s} w_i(t) of the windows before step s. Step s gives each source floor(Q_i(s+1) - n_i(s))
    windows, where n_i(s) is the number before step s, and the remaining windows go to the sources with the
    largest fractions. So n_i differs from Q_i by less than one window with two sources, and by less than the
    number of sources with more. Each source is visited epoch after epoch in its own shuffled order.

        constant    w(t) = w_0
        annealed    w(t) = w_0 + (w_1 - w_0) min(t / (steps - 1), 1)
        adaptive    w(t) = w_1 + (w_0 - w_1) 2^-k

    k is the number of validations up to step t whose error is not smaller than all errors before. The step
    and the validations, which checkpoints hold, therefore determine the batch. It has the same windows on any
    number of ranks, in an order that is shuffled in each step, so that each rank has some of each source.

    Args:
        mixture: the data sets and their shares.
        num_windows: the windows in the training split of each source.
        steps: `training.steps`.
        batch_size, seed, rank, size, num_micro_batches: see `BatchOrder`.

    Attributes:
        validations: the rows of the log of this training, see `stalled_steps`. The training adds rows.
    """

    def __init__(
        self,
        mixture: Mixture,
        num_windows: Sequence[int],
        *,
        steps: int,
        batch_size: int,
        seed: int,
        rank: int,
        size: int,
        num_micro_batches: int = 1,
    ):
        super().__init__(sum(num_windows), batch_size, seed, rank, size, num_micro_batches=num_micro_batches)
        self._mixture, self._steps = mixture, steps
        self.validations: Sequence[Sequence[float]] = ()
        self._windows_of_source = tuple(num_windows)
        self._first_windows = np.cumsum([0, *num_windows])
        # The number of windows of each source, and its quota, before some steps.
        zeros = [0] * len(num_windows), [0.0] * len(num_windows)
        self._known: dict[int, tuple[list[int], list[float]]] = {0: zeros}
        self._stalled: tuple[int, list[float]] = (0, [])

    def weights(self, step: int) -> list[float]:
        """Return the share of each source in the batch of a step."""
        first, last = self._mixture.weights, self._mixture.final_weights
        if self._mixture.schedule == "constant":
            return [float(weight) for weight in first]
        if self._mixture.schedule == "annealed":
            progress = min(step / max(self._steps - 1, 1), 1.0)
        else:
            progress = 1 - 0.5 ** bisect.bisect_right(self._stalled_steps, step)
        return [
            float((1 - progress) * start + progress * end) for start, end in zip(first, last, strict=True)
        ]

    @property
    def _stalled_steps(self) -> list[float]:
        """The steps of the validations whose error is not smaller than all errors before."""
        if self._stalled[0] != len(self.validations):
            self._stalled = len(self.validations), stalled_steps(self.validations)
        return self._stalled[1]

    def counts(self, step: int) -> list[int]:
        """Return the number of windows of each source in the batch of a step."""
        before, after = self._counts_before(step), self._counts_before(step + 1)
        return [end - start for start, end in zip(before, after, strict=True)]

    def global_batch(self, step: int) -> np.ndarray:
        """Return the windows of all ranks at a step, shape (batch_size,)."""
        before, counts = self._counts_before(step), self.counts(step)
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, step, _STREAM])))
        sources = rng.permutation(np.repeat(np.arange(len(counts)), counts))
        batch = np.empty(self.batch_size, dtype=np.int64)
        for source, (start, count) in enumerate(zip(before, counts, strict=True)):
            if count:
                positions = start + np.arange(count)
                own = visited_windows(self._windows_of_source[source], self.seed, positions)
                batch[sources == source] = self._first_windows[source] + own
        return batch

    def _counts_before(self, step: int) -> list[int]:
        """Return the number of windows of each source before a step."""
        known_step = max(known for known in self._known if known <= step)
        previous = state = self._known[known_step]
        for start in range(known_step, step):
            previous, state = state, _next_counts(*state, self.weights(start), self.batch_size)
        if step > known_step:
            self._known = {0: self._known[0], step - 1: previous, step: state}
        return state[0]


def stalled_steps(validations: Sequence[Sequence[float]]) -> list[float]:
    """Return the steps of the validations whose error is not smaller than all errors before.

    `validations` are the rows of the log, with the step first and the error in the fourth place. An error
    that is not finite is not smaller than any other.
    """
    steps: list[float] = []
    smallest: float | None = None
    for step, _, _, row_error, *_ in validations:
        error = row_error if math.isfinite(row_error) else math.inf
        if smallest is not None and error >= smallest:
            steps.append(step)
        smallest = error if smallest is None else min(smallest, error)
    return steps


def _next_counts(
    counts: Sequence[int], quotas: Sequence[float], weights: Sequence[float], batch_size: int
) -> tuple[list[int], list[float]]:
    """Return the counts and the quotas after one more batch, see `MixtureOrder`."""
    new_quotas = [quota + batch_size * weight for quota, weight in zip(quotas, weights, strict=True)]
    missing = [max(quota - count, 0.0) for quota, count in zip(new_quotas, counts, strict=True)]
    added = [math.floor(number) for number in missing]
    rest = [number - whole for number, whole in zip(missing, added, strict=True)]
    # Sources with more windows than their quota make the others miss more than a batch.
    while sum(added) > batch_size:
        source = min((index for index, whole in enumerate(added) if whole), key=lambda index: rest[index])
        added[source] -= 1
        rest[source] += 1.0
    while sum(added) < batch_size:
        source = max(range(len(rest)), key=lambda index: (rest[index], weights[index]))
        added[source] += 1
        rest[source] -= 1.0
    return [count + more for count, more in zip(counts, added, strict=True)], new_quotas
