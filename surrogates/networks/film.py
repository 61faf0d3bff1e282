"""Conditioning on scalars: every channel is scaled and shifted by functions of them."""

from __future__ import annotations

import torch
from torch import nn


class FiLM(nn.Module):
    """y = (1 + γ(c)) x + β(c), with γ and β from one small perceptron; starts as the identity.

    Without conditions it stays the identity and has no weights.

    Source: Perez et al. 2018, "FiLM: Visual Reasoning with a General Conditioning Layer", eq. 1.
    """

    def __init__(self, num_conditions: int, width: int):
        super().__init__()
        self.scale_and_shift: nn.Sequential | None = None
        if num_conditions:
            last = nn.Linear(width, 2 * width)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.scale_and_shift = nn.Sequential(nn.Linear(num_conditions, width), nn.GELU(), last)

    def forward(self, hidden: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """`hidden` (*sites, B, width) and `conditions` (B, num_conditions) give (*sites, B, width)."""
        if self.scale_and_shift is None:
            return hidden
        scale, shift = self.scale_and_shift(conditions).chunk(2, dim=-1)
        return torch.addcmul(shift, hidden, 1 + scale)
