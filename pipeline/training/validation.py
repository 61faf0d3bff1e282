"""How good a surrogate is on trajectories that it was not trained on."""

from __future__ import annotations

import numpy as np
import torch

from pipeline.data.dataset import Dataset
from pipeline.parallel.ranks import Ranks
from surrogates.contract import Surrogate


def rollout_error(surrogate: Surrogate, dataset: Dataset, ranks: Ranks, batch_size: int) -> float:
    """The relative L2 error of full roll-outs over the valid split, shared among the ranks.

        mean over trajectories, frames after the first, and channels of  ‖û - u‖ / ‖u‖

    Equal on all ranks; it depends on their number by round-off alone.
    """
    problem = surrogate.problem
    windows = dataset.windows("valid", len(dataset.times))
    mine = np.arange(ranks.rank, len(windows), ranks.size)
    total = torch.zeros(2, dtype=torch.float64)
    for start in range(0, len(mine), batch_size):
        batch = windows.take(mine[start : start + batch_size])
        named = dict(
            zip(
                problem.spec.coefficient_channels, np.moveaxis(batch["coefficient_fields"], 1, 0), strict=True
            )
        )
        named |= dict(zip(problem.spec.parameter_names, batch["parameters"].T, strict=True))
        truth = torch.from_numpy(batch["state"]).double()[:, 1:].flatten(3)
        predicted = surrogate.predict(batch["state"][:, 0], named, batch["time"][0]).mean
        error = predicted.cpu().double()[:, 1:].flatten(3) - truth
        smallest = torch.finfo(torch.float32).tiny
        relative = error.norm(dim=-1) / truth.norm(dim=-1).clamp_min(smallest)
        total += torch.tensor([relative.sum(), relative.numel()], dtype=torch.float64)
    summed, count = ranks.sum(total).tolist()
    return float(summed / count)
