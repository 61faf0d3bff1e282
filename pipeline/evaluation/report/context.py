"""Everything that the parts of a report need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.config.titles import problem_title, title_of
from pipeline.evaluation.words import predictor_name

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.data.dataset import Dataset
    from pipeline.evaluation.intervals.attribution import Attribution
    from pipeline.evaluation.schema import Metrics, Predictor, SplitResult
    from pipeline.runs.folder import RunFolder
    from simsurrogate.spec import Spec
    from solvers.contract import Solver
    from surrogates.contract import Surrogate

_SPLIT_NAMES = {"test": "held-out trajectories", "test_extrapolation": "outside the training range"}


@dataclass(frozen=True)
class ReportContext:
    """An evaluated model with its data.

    Attributes:
        folder: the paths of the run and of the model.
        figure_folder: the folder of the figures.
        surrogate: the trained surrogate.
        dataset: the data set of the evaluation.
        metrics: the results.
        num_trajectories: the number of trajectories with pictures.
        attribution: what a prediction depends on, or the reason why it is not measured.
        solver: the solver of coarse data, for a picture on its own grid; None for other data.
    """

    folder: RunFolder
    figure_folder: Path
    surrogate: Surrogate
    dataset: Dataset
    metrics: Metrics
    num_trajectories: int
    attribution: Attribution | str
    solver: Solver | None = None

    @property
    def spec(self) -> Spec:
        """The spec of the data set."""
        return self.dataset.spec

    @property
    def first_split(self) -> str:
        """The split that the verdict refers to."""
        return next(iter(self.metrics.splits))

    @property
    def result(self) -> SplitResult:
        """The results on the first split."""
        return self.metrics.splits[self.first_split]

    @property
    def surrogate_title(self) -> str:
        """The surrogate as people say it: `Fourier neural operator (FNO)`."""
        return title_of("surrogate", self.metrics.surrogate)

    @property
    def title(self) -> str:
        """The title of the report: `Fourier neural operator (FNO) for heat conduction in 2-D`."""
        problem = problem_title(str(self.dataset.configuration["solver"]["name"]), self.spec)
        return f"{self.surrogate_title} for {problem}"

    def name_of(self, predictor: Predictor) -> str:
        """Return the name of a predictor in tables."""
        return predictor_name(predictor, self.metrics.surrogate)


def split_name(split: str) -> str:
    """Return the name of a split in a sentence."""
    return _SPLIT_NAMES.get(split, split.replace("_", " "))


def chosen_trajectories(result: SplitResult, count: int) -> list[tuple[int, str]]:
    """Return the indices of `count` trajectories, with the ranks of their rollouts in words.

    The order is the median, the worst and the best trajectory, then trajectories of evenly spaced ranks.
    """
    errors = [np.inf if error is None else error for error in result.by_trajectory.rollout_end]
    order = np.argsort(errors, kind="stable")
    total = len(order)
    count = min(count, total)
    ranks = [(total - 1) // 2, total - 1, 0]
    ranks += np.linspace(0, total - 1, max(count - 1, 2)).round().astype(int).tolist()
    rank_names = {0: "best", total - 1: "worst", (total - 1) // 2: "median"}
    distinct_ranks = list(dict.fromkeys([*ranks, *range(total)]))[:count]
    return [
        (int(order[rank]), f"{rank_names.get(rank, f'number {rank + 1}')} of {total}")
        for rank in distinct_ranks
    ]
