"""Predictions of held-out trajectories, in batches that the ranks share.

Shape letters: B trajectories of a batch, T frames after the first, C channels, Q quantities.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from pipeline.evaluation.cases import Cases, load, predict_with_members
from pipeline.evaluation.metrics import FieldNorm, field_norms, relative_l2
from pipeline.problem import problem_of
from surrogates.calibration import Inputs
from surrogates.calibration.quantities import frame_quantities, reduced_states

if TYPE_CHECKING:
    from mpi4py import MPI

    from pipeline.data.dataset import Dataset
    from surrogates.contract import Prediction, Surrogate

Result = TypeVar("Result")


@dataclass(frozen=True)
class PredictedBatch:
    """The rollouts of a batch of held-out trajectories.

    Attributes:
        cases: the trajectories.
        inputs: the inputs of the rollouts.
        prediction: all frames.
        residual: the absolute difference of truth and prediction of the frames after the first,
            (B, T, C, *sites), in float64; infinite where the prediction is not finite.
        quantity_residual: the same of the quantities of interest, (B, T, Q).
        error: the relative L2 error, mean over the fields, (B, T).
    """

    cases: Cases
    inputs: Inputs
    prediction: Prediction
    residual: torch.Tensor
    quantity_residual: torch.Tensor
    error: np.ndarray

    @property
    def spread(self) -> torch.Tensor | None:
        """The standard deviation of the prediction after the first frame, (B, T, C, *sites), or None."""
        deviation = self.prediction.standard_deviation
        return None if deviation is None else deviation[:, 1:].double().cpu()

    @property
    def num_members(self) -> int:
        """The number of members of the surrogate."""
        return 1 if self.prediction.members is None else len(self.prediction.members)


@dataclass(frozen=True)
class HeldOut:
    """The held-out trajectories of a data set, predicted by a surrogate.

    Attributes:
        surrogate: the surrogate.
        dataset: the data set.
        batch_size: the number of trajectories that are predicted at once.
        communicator: the ranks that share the batches.
    """

    surrogate: Surrogate
    dataset: Dataset
    batch_size: int
    communicator: MPI.Intracomm

    def map(self, split: str, count: int, function: Callable[[PredictedBatch], Result]) -> list[Result]:
        """Return the results of a function of each batch of the first `count` trajectories, on all ranks.

        The results are in the order of the trajectories. They do not depend on the number of ranks, because
        ranks take whole batches.
        """
        starts = range(0, min(count, self.dataset.num_trajectories(split)), self.batch_size)
        own = {start: function(batch) for start, batch in self._batches(split, count, self._own(starts))}
        gathered = dict(ChainMap(*self.communicator.allgather(own)))
        return [gathered[start] for start in starts]

    def _own(self, starts: range) -> range:
        """Return the share of this rank."""
        return starts[self.communicator.rank :: self.communicator.size]

    def _batches(self, split: str, count: int, starts: range) -> Iterator[tuple[int, PredictedBatch]]:
        norms = field_norms(self.dataset.spec, problem_of(self.dataset).statistics)
        total = min(count, self.dataset.num_trajectories(split))
        columns = self._quantity_columns(split)
        for start in starts:
            positions = range(start, min(start + self.batch_size, total))
            cases = load(self.dataset, split, positions)
            yield start, self._predicted(cases, columns[start : positions.stop], norms)

    def _predicted(self, cases: Cases, quantities: np.ndarray, norms: list[FieldNorm]) -> PredictedBatch:
        surrogate = self.surrogate
        prediction = predict_with_members(surrogate, cases, 0, cases.state.shape[1] - 1)
        mean = prediction.mean[:, 1:].double().cpu()
        truth = cases.state[:, 1:]
        residual = (mean - torch.from_numpy(np.asarray(truth, np.float64))).abs()
        quantity_residual = residual.new_empty(*residual.shape[:2], 0)
        if quantities.shape[-1]:
            values = reduced_states(self.surrogate.problem.spec, mean)
            quantity_residual = (values - torch.from_numpy(quantities[:, 1:])).abs()
        statistics = surrogate.problem.statistics
        return PredictedBatch(
            cases=cases,
            inputs=Inputs(
                surrogate.problem.spec,
                statistics.std,
                cases.state[:, 0],
                cases.inputs,
                surrogate.uses_initial_state,
            ),
            prediction=prediction,
            residual=torch.nan_to_num(residual, nan=torch.inf, posinf=torch.inf),
            quantity_residual=torch.nan_to_num(quantity_residual, nan=torch.inf, posinf=torch.inf),
            error=relative_l2(mean.numpy(), truth, norms).mean(-1),
        )

    def _quantity_columns(self, split: str) -> np.ndarray:
        """Return the true quantities that follow from single frames, (trajectories, frames, Q).

        A data set with other quantities than the training data has no such quantities.
        """
        quantities = frame_quantities(self.surrogate.problem.spec)
        names = [quantity.name for quantity in quantities]
        if not names or quantities != frame_quantities(self.dataset.spec):
            return np.empty((self.dataset.num_trajectories(split), len(self.dataset.times), 0))
        columns = self.dataset.columns(split, [f"scalars/{name}" for name in names])
        return np.stack([np.asarray(columns[f"scalars/{name}"], np.float64) for name in names], axis=-1)
