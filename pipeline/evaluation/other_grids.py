"""The errors of a surrogate on other grids than that of its training data: `evaluation.other_grids`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table

from pipeline.config import sizes
from pipeline.config.solver_of_data import solver_of_data
from pipeline.data.dataset import Dataset
from pipeline.data.recorded_configuration import is_adopted
from pipeline.evaluation import measure as measurements
from pipeline.evaluation import results, trained_model, words
from pipeline.evaluation.schema import GridResult, Headline, Metrics, Predictor
from simsurrogate.errors import UserError

if TYPE_CHECKING:
    import torch
    from mpi4py import MPI

    from pipeline.config.settings import Settings
    from pipeline.runs.folder import RunFolder
    from surrogates.contract import Surrogate

_SPLIT = "test"
#: The headings of `rows`.
HEADINGS = (
    "cells",
    "trajectories",
    "one step, median",
    "end of rollout, median",
    "worst",
    "persistence, end of rollout",
)


@dataclass(frozen=True)
class OtherGrid:
    """A data set on another grid, and the surrogate on this grid."""

    dataset: Dataset
    surrogate: Surrogate


def open_datasets(
    settings: Settings, folder: RunFolder, device: torch.device, dataset: Dataset
) -> list[OtherGrid]:
    """Return the data sets of `evaluation.other_grids`, each with the surrogate on its grid.

    Raises:
        UserError: a data set is missing, not validated, of another system, on the grid of `dataset`, without
            test trajectories, or on a grid that does not resolve the surrogate.
    """
    grids = []
    for path in settings.evaluation.other_grids:
        other = Dataset.open(path, allow_failed=settings.allow_failed)
        if other.spec.shape == dataset.spec.shape:
            cells = "x".join(map(str, other.spec.shape))
            raise UserError(
                f"evaluation.other_grids: {path} has {cells} cells, as {dataset.folder} has. Another number "
                "of cells is expected. Remove it from the list, or evaluate it with dataset="
            )
        if other.num_trajectories(_SPLIT) == 0:
            raise UserError(
                f"evaluation.other_grids: {path} has no test trajectories. At least one is needed. Generate "
                "it with samples.test=8"
            )
        surrogate, other = trained_model.load(settings, folder, device, other)
        grids.append(OtherGrid(other, surrogate))
    return grids


def measure(settings: Settings, grids: Sequence[OtherGrid], communicator: MPI.Intracomm) -> list[GridResult]:
    """Return the errors on the test split of each data set on rank 0, and nothing on other ranks."""
    from mpi4py import MPI

    grid_results = []
    for grid in grids:
        dataset = grid.dataset
        precision = dataset.configuration["storage"]["precision"]
        count = dataset.num_trajectories(_SPLIT)
        sizes.check_evaluation(settings.evaluation, dataset.spec, len(dataset.times), count, precision)
        measured = measurements.measure(
            grid.surrogate,
            # A solver on the command line for adopted data has the grid of `dataset=`.
            None
            if is_adopted(dataset.configuration)
            else solver_of_data(dataset.configuration, dataset.spec, settings.solver, MPI.COMM_SELF),
            dataset,
            _SPLIT,
            batch_size=settings.evaluation.batch_size,
            communicator=communicator,
            fitted={},
        )
        if measured is not None:
            result = results.split_results(measured, dataset.spec, dataset.times)
            grid_results.append(
                GridResult(
                    cells=list(dataset.spec.shape),
                    dataset=dataset.identity,
                    trajectories=result.trajectories,
                    headline=result.headline,
                )
            )
    return grid_results


def rows(metrics: Metrics, cells: Sequence[int]) -> list[tuple[str, ...]]:
    """Return a row for each grid: cells, trajectories, and errors of the surrogate and of persistence.

    The first row is the grid of `cells`, that of the evaluated data set. No row without other grids.
    """
    if not metrics.other_grids or _SPLIT not in metrics.splits:
        return []
    own_result = metrics.splits[_SPLIT]
    return [
        _row(cells, own_result.trajectories, own_result.headline),
        *(_row(grid.cells, grid.trajectories, grid.headline) for grid in metrics.other_grids),
    ]


def _row(cells: Sequence[int], trajectories: int, headline: Mapping[Predictor, Headline]) -> tuple[str, ...]:
    surrogate, persistence = headline["surrogate"], headline["persistence"]
    return (
        " x ".join(map(str, cells)),
        str(trajectories),
        words.percent(surrogate.one_step.median),
        words.percent(surrogate.rollout_end.median),
        words.percent(surrogate.rollout_end.max),
        words.percent(persistence.rollout_end.median),
    )


def table(metrics: Metrics, cells: Sequence[int]) -> Table:
    """Return the table of `rows` for the terminal."""
    result = Table(title=f"{metrics.surrogate} on other grids: relative L2 error")
    for heading in HEADINGS:
        result.add_column(heading, justify="right")
    for row in rows(metrics, cells):
        result.add_row(*row)
    return result
