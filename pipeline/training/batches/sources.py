"""The sources of training batches: one data set, a mixture, or data sets of one system on several grids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pipeline.config.settings import Training
from pipeline.data.dataset import Dataset
from pipeline.data.mixture import Mixture
from pipeline.parallel.ranks import Ranks
from pipeline.training.batches.composition import AnySymmetry
from pipeline.training.batches.loader import Loader, MixtureLoader, loader_of
from pipeline.training.batches.micro_batches import MicroBatches
from pipeline.training.batches.mixture_order import MixtureOrder
from pipeline.training.batches.order import BatchOrder
from pipeline.training.batches.symmetries import chosen_symmetries
from pipeline.training.batches.value_weights import ValueWeights, value_weights
from surrogates.contract import Batch, Surrogate


@dataclass(frozen=True)
class GridData:
    """A data set, and the surrogate on its grid."""

    surrogate: Surrogate
    dataset: Dataset


@dataclass(frozen=True)
class Source:
    """The windows of one data set or of a mixture, in the order of the training."""

    data: GridData
    loader: Loader
    order: BatchOrder
    symmetries: tuple[AnySymmetry, ...]
    value_weights: ValueWeights | None


class Sources:
    """The batches of each step. With n data sets, step s draws its batch from data set s modulo n.

    The step alone determines the data set, so a resumed training and any number of ranks see the same
    batches, and each data set gives equally many.

    Args:
        grids: the data sets with the surrogate on their grids. All surrogates have the same weights.
        options: settings of `training`.
        seed: root seed of the run.
        ranks: ranks that train together.

    Raises:
        UserError: the batch does not fit the ranks, a trajectory is shorter than a window, or the data do not
            have a symmetry.
    """

    def __init__(self, grids: Sequence[GridData], options: Training, seed: int, ranks: Ranks):
        self._noise, self._seed = options.noise, seed
        self._sources = []
        for data in grids:
            surrogate = data.surrogate.to(ranks.device)
            like = next(surrogate.parameters())
            loader = loader_of(data.dataset, options.unroll + 1, like, surrogate.encode)
            order = _order(data.dataset, loader, options, seed, ranks, interval=len(grids))
            symmetries = chosen_symmetries(data.dataset.spec, options.symmetries, type(surrogate))
            weights = value_weights(data.dataset, surrogate, loader)
            self._sources.append(Source(data, loader, order, symmetries, weights))

    def at(self, step: int) -> Source:
        """Return the source of a step."""
        return self._sources[step % len(self._sources)]

    def micro_batches(self, step: int) -> MicroBatches:
        """Return this rank's micro-batches of a step."""
        source = self.at(step)
        return MicroBatches(
            source.loader,
            source.order,
            step,
            source.data.surrogate,
            source.symmetries,
            self._noise,
            self._seed,
            source.value_weights,
        )

    def follow(self, validations: Sequence[Sequence[float]]) -> None:
        """Let the shares of a mixture follow the validations, the rows of the log, which grows."""
        for source in self._sources:
            if isinstance(source.order, MixtureOrder):
                source.order.validations = validations

    def forward(self) -> torch.nn.Module:
        """Return the module that computes the losses of a batch of any source."""
        surrogates = [source.data.surrogate for source in self._sources]
        return surrogates[0] if len(surrogates) == 1 else _OnGrids(surrogates)

    def take_data_seconds(self) -> float:
        """Return the time (s) that loading took since the last call, over all sources."""
        seconds = sum(source.loader.data_seconds for source in self._sources)
        for source in self._sources:
            source.loader.data_seconds = 0.0
        return seconds


def _order(
    dataset: Dataset, loader: Loader, options: Training, seed: int, ranks: Ranks, *, interval: int
) -> BatchOrder:
    """Return the order of the windows of a data set or of a mixture."""
    count = options.gradient_accumulation_steps
    if isinstance(dataset, Mixture) and isinstance(loader, MixtureLoader):
        return MixtureOrder(
            dataset,
            [len(source_loader) for source_loader in loader.loaders],
            steps=options.steps,
            batch_size=options.batch_size,
            seed=seed,
            rank=ranks.rank,
            size=ranks.size,
            num_micro_batches=count,
        )
    return BatchOrder(
        len(loader),
        options.batch_size,
        seed,
        ranks.rank,
        ranks.size,
        num_micro_batches=count,
        interval=interval,
    )


class _OnGrids(torch.nn.Module):
    """Surrogates on several grids with the same weights, of which the cells of a batch select one."""

    def __init__(self, surrogates: Sequence[Surrogate]):
        super().__init__()
        self.surrogates = torch.nn.ModuleList(surrogates)
        self._positions = {surrogate.problem.spec.shape: index for index, surrogate in enumerate(surrogates)}

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the losses of a batch."""
        cells = tuple(batch["state"].shape[3:])
        losses: dict[str, torch.Tensor] = self.surrogates[self._positions[cells]](batch)
        return losses
