"""Surrogates that were trained apart and answer together.

Shape letters: M members, B batch, T time, C channels; `*sites` as in the contract.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from simsurrogate.errors import UserError
from surrogates.contract import Array, Batch, Problem, Surrogate


class Ensemble(Surrogate):
    """Members that differ in the weights they began with and in the order of their batches.

        predict = 1/M Σ_m u_m,    spread = sqrt(1/(M - 1) Σ_m (u_m - predict)²)

    The mean is usually nearer to the truth than a member; the spread, the standard deviation of
    `predict_members` over its first axis, tells where the members disagree, and so where the data said
    little. It says nothing of what all members have in common: a network too small, data too few in time.

    Raises:
        UserError: the members answer different problems, or there is none.

    Source: Lakshminarayanan, Pritzel & Blundell 2017, "Simple and Scalable Predictive Uncertainty
    Estimation using Deep Ensembles" (arXiv 1612.01474).
    """

    def __init__(self, members: Sequence[Surrogate]):
        if not members or any(member.problem != members[0].problem for member in members):
            raise UserError(f"{len(members)} members: an ensemble has one or more, all of the same problem")
        super().__init__(members[0].problem)
        self.members = nn.ModuleList(members)
        self.uses_initial_state, self.uses_time = members[0].uses_initial_state, members[0].uses_time

    @classmethod
    def incompatibility(cls, problem: Problem) -> str | None:
        """None: its members have been asked."""
        return None

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The members' losses, each the mean over the members."""
        losses = [member(batch) for member in self.members]
        return {name: torch.stack([one[name] for one in losses]).mean() for name in losses[0]}

    @torch.no_grad()
    def predict_members(
        self, initial_state: Array, parameters: Mapping[str, Any], times: Array, *, strict: bool = False
    ) -> torch.Tensor:
        """What each member predicts, (M, B, T, C, *sites); arguments, warnings and errors are `predict`'s."""
        self._mind_the_range(parameters, times, strict)
        return self._of_members(initial_state, parameters, times)

    def _predict(self, initial_state: Array, parameters: Mapping[str, Any], times: Array) -> torch.Tensor:
        """The mean over the members."""
        return mean_of(self._of_members(initial_state, parameters, times))

    def _of_members(self, initial_state: Array, parameters: Mapping[str, Any], times: Array) -> torch.Tensor:
        answers: list[torch.Tensor] = [
            member._predict(initial_state, parameters, times)  # type: ignore[operator]
            for member in self.members
        ]
        return torch.stack(answers)


def mean_of(answers: torch.Tensor) -> torch.Tensor:
    """The mean over the members' answers (M, B, T, C, *sites), whose first frames are the same."""
    mean = answers.mean(dim=0)
    # Without the rounding of a mean: the first frame was given.
    mean[:, 0] = answers[0, :, 0]
    return mean
