"""The scale and the scores of residuals, see `surrogates.calibration.Intervals`.

Shape letters: B trajectories of a batch, N trajectories, T frames after the first, C channels, S sampled
cells, Q quantities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from surrogates.calibration import Intervals
from surrogates.calibration.intervals import hierarchical_quantiles

if TYPE_CHECKING:
    from pipeline.data.dataset import Dataset
    from pipeline.evaluation.intervals.residuals import PredictedBatch
    from surrogates.contract import Surrogate

#: The weight of the mean over the cells in the residual scale of a cell, in trajectories.
_SMOOTHING = 8
#: The smallest scale, in standard deviations of the training data, about the round-off of float32.
_LEAST_SCALE = 1e-6
#: The largest number of scores of all calibration trajectories that are sorted.
_MAX_SCORES = 2**22


@dataclass(frozen=True)
class Sums:
    """The number of trajectories with finite residuals, and sums over these trajectories.

    The sums are the absolute residuals of the fields (T, C, *sites) and of the quantities (T, Q), and the
    mean over the sites of the spread (T, C), which is 0 without an ensemble.
    """

    count: int
    residual: torch.Tensor
    quantity_residual: torch.Tensor
    spread: torch.Tensor


@dataclass(frozen=True)
class Scores:
    """The scores of some trajectories: of sampled cells (B, T, C, S), and the largest of each (B,)."""

    cells: np.ndarray
    largest: np.ndarray


def sums(batch: PredictedBatch) -> Sums:
    """Return the sums over the trajectories of a batch."""
    is_finite = torch.isfinite(batch.residual.flatten(1)).all(1)
    residual = batch.residual[is_finite].sum(0)
    spread = torch.zeros_like(residual) if batch.spread is None else batch.spread[is_finite].sum(0)
    return Sums(
        int(is_finite.sum()), residual, batch.quantity_residual[is_finite].sum(0), spread.flatten(2).mean(-1)
    )


def uncalibrated(
    parts: Sequence[Sums], surrogate: Surrogate, dataset: Dataset
) -> tuple[Intervals, Intervals | None]:
    """Return intervals of the fields and of the quantities, if any, with a scale and without scores."""
    count = max(sum(part.count for part in parts), 1)
    std = torch.tensor(surrogate.problem.statistics.std, dtype=torch.float64)
    spread = torch.stack([part.spread for part in parts]).sum(0) / count
    fields = _smoothed(
        torch.stack([part.residual for part in parts]).sum(0),
        count,
        _LEAST_SCALE * torch.where(std > 0, std, 1.0),
    )
    mean = fields.flatten(2).mean(-1)
    lead_times = torch.from_numpy(np.asarray(dataset.times[1:] - dataset.times[0], np.float64))
    factor = torch.where(spread > 0, mean / spread, 1.0)
    empty = torch.empty(0)
    quantities = None
    total = torch.stack([part.quantity_residual for part in parts]).sum(0)
    if num_quantities := total.shape[-1]:
        least = torch.full((num_quantities,), torch.finfo(torch.float32).tiny, dtype=torch.float64)
        scale = _smoothed(total, count, least)
        quantities = Intervals(lead_times, scale.float(), torch.ones_like(scale).float(), empty, empty)
    return Intervals(lead_times, fields.float(), factor.float(), empty, empty), quantities


def scores(
    batch: PredictedBatch, parts: tuple[Intervals, Intervals | None], num_trajectories: int
) -> tuple[Scores, Scores | None]:
    """Return the scores of the fields and of the quantities of a batch.

    Large grids are sampled: the cells are drawn at random for each trajectory, by its index in the data set.
    `num_trajectories` is the number of all calibration trajectories.
    """
    fields, quantities = parts
    sigma = fields.sigma(fields.lead_times.numpy(), batch.spread, batch.num_members)
    all_scores = (batch.residual / sigma).float().numpy()
    all_scores = all_scores.reshape(*all_scores.shape[:3], -1)
    cells, total = all_scores, all_scores.shape[-1]
    num_frames, num_channels = all_scores.shape[1:3]
    num_cells = max(1, _MAX_SCORES // (num_trajectories * num_frames * num_channels))
    if total > num_cells:
        generators = [np.random.Generator(np.random.Philox(index)) for index in batch.cases.index]
        cells = np.stack(
            [
                row[..., generator.choice(total, num_cells, replace=False)]
                for row, generator in zip(all_scores, generators, strict=True)
            ]
        )
    quantity_scores = None
    if quantities is not None:
        values = (batch.quantity_residual / quantities.scale).float().numpy()
        quantity_scores = Scores(values[..., None], values.max(axis=(1, 2)))
    return Scores(cells, all_scores.max(axis=(1, 2, 3))), quantity_scores


def with_scores(part: Intervals, parts: Sequence[Scores | None]) -> Intervals:
    """Return the intervals with the quantiles of scores."""
    known = [entry for entry in parts if entry is not None]
    cells = np.concatenate([entry.cells for entry in known])
    largest = np.sort(np.concatenate([entry.largest for entry in known]))
    marginal = torch.from_numpy(hierarchical_quantiles(cells))
    return Intervals(part.lead_times, part.scale, part.spread_factor, marginal, torch.from_numpy(largest))


def _smoothed(total: torch.Tensor, count: int, least: torch.Tensor) -> torch.Tensor:
    """Return the mean (T, C, *sites) of `count` trajectories, drawn towards the mean over the sites.

    `least` (C,) is the smallest mean over the sites.
    """
    mean = total.reshape(*total.shape[:2], -1).mean(-1) / count
    mean = torch.maximum(mean, least.expand_as(mean)).reshape(*mean.shape, *[1] * (total.ndim - 2))
    return (total + _SMOOTHING * mean) / (count + _SMOOTHING)
