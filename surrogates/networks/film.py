"""Feature-wise linear modulation (FiLM): scalar conditions scale and shift every channel."""

from __future__ import annotations

import torch
from torch import nn

#: The scale and the shift of each channel, each (B, width); empty for the identity.
Coefficients = tuple[torch.Tensor, ...]


class FiLM(nn.Module):
    """An affine map of the channels with coefficients that depend on conditions: y = (1 + γ(c)) x + β(c).

    One small perceptron computes γ and β. The initial map is the identity. Without conditions the map is
    always the identity and has no weights. `modulate` applies the map.

    Source: Perez et al. 2018, "FiLM: Visual Reasoning with a General Conditioning Layer", eq. 1.
    """

    def __init__(self, num_conditions: int, width: int):
        super().__init__()
        self.scale_and_shift: nn.Sequential | None = None
        if num_conditions:
            last_layer = nn.Linear(width, 2 * width)
            nn.init.zeros_(last_layer.weight)
            nn.init.zeros_(last_layer.bias)
            self.scale_and_shift = nn.Sequential(nn.Linear(num_conditions, width), nn.GELU(), last_layer)

    def coefficients(self, conditions: torch.Tensor) -> Coefficients:
        """Return 1 + γ(c) and β(c), each (B, width), or nothing if the map is the identity."""
        if self.scale_and_shift is None:
            return ()
        scale, shift = self.scale_and_shift(conditions).chunk(2, dim=-1)
        return 1 + scale, shift


def modulate(hidden: torch.Tensor, coefficients: Coefficients) -> torch.Tensor:
    """Return (1 + γ) x + β of x = `hidden` (*sites, B, width) and the result of `FiLM.coefficients`."""
    if not coefficients:
        return hidden
    scale, shift = coefficients
    return torch.addcmul(shift, hidden, scale)
