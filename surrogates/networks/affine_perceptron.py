"""A perceptron that is affine in some of its inputs by construction.

Shape letters: B batch, T times, P parameters, A parameters in which the result is affine, K results.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import cast

import torch
from torch import nn


class AffinePerceptron(nn.Module):
    """The function c(a, q, t) = N₀(q, t) + Σ_i a_i N_i(q, t) of parameters a and q and the time t.

    N is a perceptron with GELU activations, whose result holds all N_i. Without parameters a the function is
    an ordinary perceptron.

    Args:
        num_parameters: P.
        affine: the positions of the parameters a among all parameters.
        num_results: K.
        width: the width of the hidden layers.
        layers: the number of hidden layers.
    """

    def __init__(
        self, num_parameters: int, affine: Sequence[int], num_results: int, *, width: int, layers: int
    ):
        super().__init__()
        self._affine = list(affine)
        self._others = [index for index in range(num_parameters) if index not in self._affine]
        widths = [len(self._others) + 1, *[width] * layers]
        hidden_layers = [
            (nn.Linear(num_before, num_after), nn.GELU())
            for num_before, num_after in itertools.pairwise(widths)
        ]
        num_out = (1 + len(self._affine)) * num_results
        self.network = nn.Sequential(*itertools.chain(*hidden_layers), nn.Linear(widths[-1], num_out))

    def forward(self, parameters_BP: torch.Tensor, time_BT: torch.Tensor) -> torch.Tensor:
        """Return the results (B, T, K) for normalised parameters and times."""
        others_BQ = parameters_BP[:, self._others] if self._affine else parameters_BP
        others_BTQ = others_BQ[:, None].expand(-1, time_BT.shape[1], -1)
        results = self.network(torch.cat([others_BTQ, time_BT[..., None]], dim=-1))
        if not self._affine:
            return cast(torch.Tensor, results)
        results_BTAK = results.unflatten(-1, (1 + len(self._affine), -1))
        factors_BA = torch.cat(
            [parameters_BP.new_ones(len(parameters_BP), 1), parameters_BP[:, self._affine]], 1
        )
        combined: torch.Tensor = torch.einsum("ba,btak->btk", factors_BA, results_BTAK)
        return combined
