"""A surrogate with one weight, which multiplies the state by a factor in every time step."""

from __future__ import annotations

import torch

from surrogates.autoregressive import AutoregressiveSurrogate
from surrogates.contract import Problem


class ScaledState(AutoregressiveSurrogate):
    def __init__(self, problem: Problem, first_factor: float = 0.0):
        super().__init__(problem)
        self.factor = torch.nn.Parameter(torch.tensor(first_factor))

    def increment(self, inputs_BXI: torch.Tensor, conditions_BQ: torch.Tensor) -> torch.Tensor:
        return self.factor * inputs_BXI[..., : len(self.problem.spec.channels)]
