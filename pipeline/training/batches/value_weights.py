"""The weights of the values of a batch: 0 in gaps, and larger for channels with less noise.

Shape letters: B windows, T frames, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from pipeline.data.dataset import Dataset
from pipeline.data.mixture import Mixture
from pipeline.training.batches.loader import Loader, MixtureLoader
from simsurrogate.errors import UserError
from surrogates.contract import Batch, Surrogate, surrogate_class, surrogate_names

#: The smallest noise in a weight, in standard deviations of the channel: the floor of the relative L2 error.
_LEAST_NOISE = 1e-2


@dataclass(frozen=True)
class ValueWeights:
    """The weights of the values of windows, and the replacement of missing values.

    A missing value is NaN. Its weight is 0, and its replacement is the mean of its channel over the mixture:
    0 after the normalisation. Every other value has the weight of its channel in its source,

        w_c = r_c^-2 / mean over the channels of r_c^-2,    r_c = max(noise_c / std_c, 0.01)

    The mean is over the channels that the source has. The weights of a source have the mean 1, so the shares
    of the sources in the loss are those of the batch.

    Attributes:
        loader: the loader of the windows.
        channel_weights: w_c of each source (sources, C).
        mean: the mean of each channel (C,).
    """

    loader: MixtureLoader
    channel_weights: torch.Tensor
    mean: torch.Tensor

    def __call__(self, batch: Batch, windows: np.ndarray) -> Batch:
        """Return the batch of some windows (B,) without NaN and with `weight`."""
        state = batch["state"]
        sites = [1] * (state.ndim - 3)
        sources = torch.from_numpy(self.loader.source_of(windows)).to(self.channel_weights.device)
        weight_BC = self.channel_weights[sources]
        is_missing = state.isnan()
        weight = weight_BC.view(len(weight_BC), 1, -1, *sites).expand_as(state).masked_fill(is_missing, 0.0)
        filled = torch.where(is_missing, self.mean.view(-1, *sites), state)
        return {**batch, "state": filled, "weight": weight}


def value_weights(dataset: Dataset, surrogate: Surrogate, loader: Loader) -> ValueWeights | None:
    """Return the weights of the values of a mixture with gaps or noise, else None: all weights are 1.

    Raises:
        UserError: the losses of the surrogate have no weights.
    """
    if not isinstance(dataset, Mixture) or not isinstance(loader, MixtureLoader):
        return None
    sources = dataset.sources
    if not any(source.lacks_values or source.noise.any() for source in sources):
        return None
    if not honours_weight(type(surrogate)):
        names = [name for name in surrogate_names() if honours_weight(surrogate_class(name))]
        raise UserError(
            f"{type(surrogate).__name__} has losses without weights of single values, and the data of this "
            "training have gaps, noise or missing fields. Surrogates with such weights are "
            f"{', '.join(names)}. Type surrogate={names[0]}"
        )
    statistics = surrogate.problem.statistics
    like = next(surrogate.parameters())
    std = np.array(statistics.std)
    weights = [channel_weights(source.noise, std, source.has_channel) for source in sources]
    return ValueWeights(
        loader, torch.from_numpy(np.stack(weights)).to(like), torch.tensor(statistics.mean).to(like)
    )


def channel_weights(noise: np.ndarray, std: np.ndarray, has_channel: np.ndarray) -> np.ndarray:
    """Return the weight of each channel (C,), see `ValueWeights`.

    Without any noise, all weights are 1. A channel that the source lacks has the weight 0. The scale of a
    channel without variation is 1.
    """
    relative_noise = np.maximum(noise / np.where(std > 0, std, 1.0), _LEAST_NOISE)
    weights = relative_noise**-2.0
    return np.asarray(np.where(has_channel, weights / weights[has_channel].mean(), 0.0))


def honours_weight(constructor: type[Surrogate]) -> bool:
    """Return whether the losses of a surrogate use `Batch.weight`.

    A subclass with a `forward` of its own has to say so again.
    """
    ancestors = constructor.__mro__

    def position(name: str) -> int:
        return next(index for index, ancestor in enumerate(ancestors) if name in vars(ancestor))

    return constructor.weighted and position("weighted") <= position("forward")
