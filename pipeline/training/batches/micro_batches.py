"""The micro-batches of one step on one rank, loaded and augmented."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.training.batches.augment import with_noise, with_random
from pipeline.training.batches.composition import AnySymmetry
from pipeline.training.batches.loader import Loader
from pipeline.training.batches.order import BatchOrder
from pipeline.training.batches.symmetries import with_symmetries
from pipeline.training.batches.value_weights import ValueWeights
from surrogates.contract import Batch, Surrogate


@dataclass(frozen=True)
class MicroBatches:
    """The micro-batches from which this rank computes a step's gradient; each iteration loads them again.

    Attributes:
        loader: source of the windows.
        order: windows of each step.
        step: number of the step, from 0.
        surrogate: model that is trained.
        symmetries: symmetries of the data, of which each window gets a random composition.
        noise: `training.noise`.
        seed: root seed of the run.
        value_weights: weights of the values and replacement of missing values; None for complete data.
    """

    loader: Loader
    order: BatchOrder
    step: int
    surrogate: Surrogate
    symmetries: tuple[AnySymmetry, ...]
    noise: float
    seed: int
    value_weights: ValueWeights | None = None

    def __iter__(self) -> Iterator[Batch]:
        seed, step = self.seed, self.step
        problem, num_random = self.surrogate.problem, self.surrogate.num_random
        for positions, windows in self.order.micro_batches(step):
            batch = self.loader.take(windows)
            batch = with_symmetries(
                batch, problem, self.symmetries, seed=seed, step=step, positions=positions
            )
            batch = with_noise(batch, problem, self.noise, seed=seed, step=step, positions=positions)
            # Until here a missing value is NaN, so it stays missing when symmetries move and mix values.
            if self.value_weights is not None:
                batch = self.value_weights(batch, windows)
            yield with_random(batch, num_random, seed=seed, step=step, positions=positions)
