"""Ensembles: surrogates trained independently that predict together.

Shape letters: M members, B batch, T time, C channels; `*sites` as in the contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import nn

from simsurrogate.errors import UserError
from surrogates.contract import Array, Batch, ParameterValues, Prediction, Problem, Surrogate


class Ensemble(Surrogate):
    """An ensemble of members that differ in their initial weights and in the order of their batches.

        mean = 1/M Σ_m u_m,    standard deviation = sqrt(1/(M - 1) Σ_m (u_m - mean)²)

    The mean is usually closer to the truth than a member. The standard deviation shows where the members
    disagree because the training data constrain them little. Errors that all members share, from a network
    that is too small or data too coarse in time, do not appear in the standard deviation.

    Raises:
        UserError: there are no members, or they were trained on different problems.

    Source: Lakshminarayanan, Pritzel & Blundell 2017, "Simple and Scalable Predictive Uncertainty
    Estimation using Deep Ensembles" (arXiv 1612.01474).
    """

    def __init__(self, members: Sequence[Surrogate]):
        if not members:
            raise UserError(
                "the ensemble has 0 members. At least one member is needed. Type ensemble=4 to train one."
            )
        for index, member in enumerate(members):
            if member.problem != members[0].problem:
                raise UserError(
                    f"member {index} of the ensemble was trained on another problem than member 0. All "
                    "members have the same problem. Type ensemble=4 to train members on one data set."
                )
        super().__init__(members[0].problem)
        self.members = nn.ModuleList(members)
        self.learns_quantities, self.any_grid = members[0].learns_quantities, members[0].any_grid
        self.rows_are_times = members[0].rows_are_times
        self.uses_initial_state, self.uses_time = members[0].uses_initial_state, members[0].uses_time

    @classmethod
    def incompatibility(cls, problem: Problem) -> str | None:
        """Return None: each member has checked the problem already."""
        return None

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the mean over the members of each loss."""
        losses = [member(batch) for member in self.members]
        return {name: torch.stack([loss[name] for loss in losses]).mean() for name in losses[0]}

    def closest(self, state: torch.Tensor) -> torch.Tensor | None:
        """Return the closest states of the first member; the buffers of all members follow from the data."""
        closest: torch.Tensor | None = self.members[0].closest(state)  # type: ignore[operator]
        return closest

    def _predict(self, initial_state: Array, parameters: ParameterValues, times: Array) -> Prediction:
        """Return the mean, the standard deviation and the prediction of each member."""
        predictions: list[Prediction] = [
            member._predict(initial_state, parameters, times)  # type: ignore[operator]
            for member in self.members
        ]
        members = torch.stack([prediction.mean for prediction in predictions])
        mean = members.mean(dim=0)
        # The first frame is the initial state, without the rounding error of a mean.
        mean[:, 0] = members[0, :, 0]
        deviation = members.double().std(dim=0) if len(members) > 1 else None
        return Prediction(mean, deviation, members)

    def compiled(self) -> Self:
        """Return an ensemble of the compiled members, see `Compilable.compiled`."""
        members = [member.compiled() for member in self.members]  # type: ignore[operator]
        ensemble = type(self)(members).eval()
        ensemble.calibration = self.calibration
        return ensemble

    def __repr__(self) -> str:
        return f"Ensemble of {len(self.members)} members, each {self.members[0]!r}"
