"""The data sets on other grids that a training uses, each with a surrogate that shares the weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from pipeline.data.dataset import Dataset
from pipeline.problem import mismatches, problem_of
from pipeline.training.batches.sources import GridData
from simsurrogate.errors import UserError
from surrogates.contract import Problem, Surrogate
from surrogates.other_grid import on_grid, share_weights


def with_shared_weights(
    surrogate: Surrogate, datasets: Sequence[Dataset], build: Callable[[Problem], Surrogate]
) -> list[GridData]:
    """Return the data sets of `training.other_grids`, each with a surrogate that shares the weights.

    The statistics of the surrogate's own data set normalise the data of all grids.

    Args:
        surrogate: surrogate on the grid of its own data set.
        datasets: data sets on other grids.
        build: constructor of a surrogate of the same class, options and weights to keep.

    Raises:
        UserError: the weights of the surrogate depend on the grid, or a data set is of another system or on
            an earlier grid.
    """
    grids, shapes = [], [surrogate.problem.spec.shape]
    for dataset in datasets:
        shape = dataset.spec.shape
        if shape in shapes:
            raise UserError(
                f"training.other_grids: {dataset.folder} has {'x'.join(map(str, shape))} cells, as another "
                "data set of this training. Each data set needs another grid. Remove it from the list"
            )
        shapes.append(shape)
        problem = on_grid(surrogate.problem, shape, type(surrogate))
        if found := mismatches(problem, problem_of(dataset), is_other_grid=True):
            raise UserError(
                f"training.other_grids: {dataset.folder} does not fit the others: {'; '.join(found)}. All "
                "data sets hold the same system. Remove it from the list"
            )
        with torch.random.fork_rng(devices=[]):
            twin = build(problem)
        share_weights(twin, surrogate)
        grids.append(GridData(twin, dataset))
    return grids
