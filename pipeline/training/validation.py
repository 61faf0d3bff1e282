"""The error of a surrogate on the valid split, which selects the saved weights."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
import torch

from pipeline.data.dataset import Dataset
from pipeline.data.mixture import AlignedSource, Mixture
from pipeline.parallel.ranks import Ranks
from simsurrogate.relative_l2 import norm_floor, relative_l2
from surrogates.contract import ExtrapolationWarning, Surrogate

_MIN_NORM = torch.finfo(torch.float32).tiny


def rollout_error(surrogate: Surrogate, dataset: Dataset, ranks: Ranks, batch_size: int) -> float:
    """Return the relative L2 error of full rollouts over the valid split, shared among the ranks.

        mean over trajectories, frames after the first, and fields of  ‖û − u‖ / max(‖u‖, floor)

    The norm of a vector field is over sites and components, see `simsurrogate.relative_l2`. The result is
    equal on all ranks, and depends on the number of ranks only by round-off.

    The norms of measured data with gaps are over the measured values, and a field without any in a frame has
    no error there. The error of a mixture is that of its sources by `Mixture.validation_weights`.
    """
    if isinstance(dataset, Mixture):
        error: float = sum(
            weight * _rollout_error(surrogate, source, ranks, batch_size)
            for source, weight in zip(dataset.sources, dataset.validation_weights.tolist(), strict=True)
            if weight
        )
        return error
    return _rollout_error(surrogate, dataset, ranks, batch_size)


def _rollout_error(surrogate: Surrogate, dataset: Dataset, ranks: Ranks, batch_size: int) -> float:
    """Return the error on one data set, see `rollout_error`."""
    spec, std = surrogate.problem.spec, surrogate.problem.statistics.std
    floors = [
        max(norm_floor([std[channel] for channel in channels], math.prod(spec.shape)), _MIN_NORM)
        for channels in spec.field_channels
    ]
    lacks_values = isinstance(dataset, AlignedSource) and dataset.lacks_values
    windows = dataset.windows("valid", len(dataset.times), reuse_buffers=True)
    own_windows = np.arange(ranks.rank, len(windows), ranks.size)
    total = torch.zeros(2, dtype=torch.float64)
    for start in range(0, len(own_windows), batch_size):
        batch = windows.take(own_windows[start : start + batch_size])
        coefficients = np.moveaxis(batch["coefficient_fields"], 1, 0)
        inputs = dict(zip(spec.coefficient_channels, coefficients, strict=True))
        inputs |= dict(zip(spec.parameter_names, batch["parameters"].T, strict=True))
        initial_state = batch["state"][:, 0]
        if lacks_values:
            initial_state = with_means(initial_state, surrogate.problem.statistics.mean)
        with warnings.catch_warnings():
            # A valid trajectory may exceed the range of the training trajectories.
            warnings.simplefilter("ignore", ExtrapolationWarning)
            prediction = surrogate.predict(initial_state, inputs, batch["time"][0]).mean
        predicted_values = prediction.cpu().double()[:, 1:].flatten(3)
        truth = torch.from_numpy(batch["state"]).double()[:, 1:].flatten(3)
        is_missing = truth.isnan()
        if lacks_values:
            # A difference of 0 and a truth of 0 change no norm.
            predicted_values, truth = (
                values.masked_fill(is_missing, 0.0) for values in (predicted_values, truth)
            )
        errors_BTF = torch.stack(
            [
                relative_l2(predicted_values[:, :, channels], truth[:, :, channels], _norm, floor)
                for channels, floor in zip(map(list, spec.field_channels), floors, strict=True)
            ],
            dim=-1,
        )
        if lacks_values:
            has_values_BTF = torch.stack(
                [
                    ~is_missing[:, :, channels].flatten(2).all(dim=-1)
                    for channels in map(list, spec.field_channels)
                ],
                dim=-1,
            )
            errors_BTF = errors_BTF[has_values_BTF]
        total += torch.tensor([errors_BTF.sum(), errors_BTF.numel()], dtype=torch.float64)
    error_sum, count = ranks.sum(total).tolist()
    return float(error_sum / count) if count else math.nan


def with_means(state: np.ndarray, mean: Sequence[float]) -> np.ndarray:
    """Return states (B, C, *sites) with the mean of the channel in place of missing values."""
    means = np.array(mean, state.dtype).reshape(-1, *[1] * (state.ndim - 2))
    return np.where(np.isnan(state), means, state)


def _norm(values_BTCX: torch.Tensor) -> torch.Tensor:
    """Return the Euclidean norm over components and sites, (B, T)."""
    norm_BT: torch.Tensor = values_BTCX.flatten(2).norm(dim=-1)
    return norm_BT
