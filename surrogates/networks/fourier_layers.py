"""A network of Fourier layers: from fields on a grid to fields on the same grid.

Shape letters: B batch, I inputs, of which S are static and C are not, O outputs, Q conditions, W width; X
stands for all sites. Hidden fields have sites first, see `spectral_convolution`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from surrogates.contract import Problem
from surrogates.networks.film import Coefficients, FiLM, modulate
from surrogates.networks.spectral_convolution import SpectralConvolution, TruncatedFourier

#: Period of the Fourier basis on an axis that is not periodic, in units of the axis.
_PERIOD_BETWEEN_WALLS = 1.25


class Prepared(NamedTuple):
    """The values in a Fourier network that depend on static inputs and conditions alone, see `prepare`.

    Attributes:
        lifted: the part of the first linear map that the static inputs determine, with its bias,
            (*sites, B, W).
        coefficients: the coefficients of FiLM in each layer, whose shift holds the bias b, too.
    """

    lifted: torch.Tensor
    coefficients: list[Coefficients]


class FourierNetwork(nn.Module):
    """A lifting, Fourier layers and a projection; lifting and projection act on each cell separately.

        h ← h + V gelu(FiLM(K h + W h, p)),    (K h)^(k) = R(k) ĥ(k) for |k| < modes

    On an axis that is not periodic the Fourier basis has a period of 1.25 axes, which keeps the two ends
    apart. The basis is evaluated only on the cells. The weights do not depend on the number of cells. The
    network is equivariant: a shift of all inputs along a periodic axis shifts the output.

    Args:
        problem: the problem, for its grid.
        num_fields: the number I of input fields.
        num_conditions: the number Q of scalar conditions.
        num_out: the number of output fields.
        width: channels of the hidden field.
        modes: retained Fourier modes per axis, the constant mode included.
        layers: Fourier layers.

    Raises:
        UserError: more modes than the grid resolves.

    Source: Li et al. 2021, "Fourier Neural Operator for Parametric PDEs" (arXiv 2010.08895).
    """

    def __init__(
        self,
        problem: Problem,
        *,
        num_fields: int,
        num_conditions: int,
        num_out: int,
        width: int,
        modes: Sequence[int],
        layers: int,
    ):
        super().__init__()
        periods = tuple(
            1.0 if boundary == "periodic" else _PERIOD_BETWEEN_WALLS for boundary in problem.spec.boundaries
        )
        self.fourier = TruncatedFourier(problem.spec.shape, periods, tuple(modes))
        self.lifting = nn.Sequential(nn.Linear(num_fields, width), nn.GELU(), nn.Linear(width, width))
        self.layers = nn.ModuleList(FourierLayer(width, num_conditions, self.fourier) for _ in range(layers))
        self.projection = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, num_out))

    def forward(self, fields_BXI: torch.Tensor, conditions_BQ: torch.Tensor) -> torch.Tensor:
        """Return fields (B, *sites, num_out) from fields (B, *sites, I) and conditions (B, Q)."""
        # Without a contiguous tensor, PyTorch chooses another product with other rounding under no_grad.
        hidden_XBW = self.lifting(fields_BXI.movedim(0, -2).contiguous())
        for layer in self.layers:
            hidden_XBW = layer(hidden_XBW, conditions_BQ, self.fourier)
        fields_XBO: torch.Tensor = self.projection(hidden_XBW)
        return fields_XBO.movedim(-2, 0)

    def prepare(self, static_BXS: torch.Tensor, conditions_BQ: torch.Tensor) -> Prepared:
        """Return what the last S inputs and the conditions determine, for `predict`."""
        first_layer = self.lifting[0]
        assert isinstance(first_layer, nn.Linear)
        weight_WS = first_layer.weight[:, first_layer.in_features - static_BXS.shape[-1] :]
        static_XBS = static_BXS.movedim(0, -2).contiguous()
        lifted_XBW = nn.functional.linear(static_XBS, weight_WS, first_layer.bias)
        coefficients = [layer.coefficients(conditions_BQ) for layer in self._fourier_layers()]
        return Prepared(lifted_XBW, coefficients)

    def predict(self, state_BXC: torch.Tensor, prepared: Prepared) -> torch.Tensor:
        """Return the output of `forward` without gradients, from the first C inputs and from `prepare`."""
        first_layer = self.lifting[0]
        assert isinstance(first_layer, nn.Linear)
        weight_WC = first_layer.weight[:, : state_BXC.shape[-1]]
        state_NC = state_BXC.movedim(0, -2).reshape(-1, state_BXC.shape[-1])
        lifted_XBW = prepared.lifted
        hidden_XBW = torch.addmm(lifted_XBW.flatten(0, -2), state_NC, weight_WC.T).view_as(lifted_XBW)
        hidden_XBW = self.lifting[2](self.lifting[1](hidden_XBW))
        for layer, coefficients in zip(self._fourier_layers(), prepared.coefficients, strict=True):
            layer.advance_(hidden_XBW, coefficients, self.fourier)
        fields_XBO: torch.Tensor = self.projection(hidden_XBW)
        return fields_XBO.movedim(-2, 0)

    def _fourier_layers(self) -> list[FourierLayer]:
        return [layer for layer in self.layers if isinstance(layer, FourierLayer)]


class FourierLayer(nn.Module):
    """A non-local and a local linear map, and a nonlinearity: h + V gelu(FiLM(K h + W h + b, p)).

    V has no bias, because the b of the next layer and the bias of the projection replace it.
    """

    def __init__(self, width: int, num_conditions: int, fourier: TruncatedFourier):
        super().__init__()
        self.spectral = SpectralConvolution(width, fourier)
        self.local = nn.Linear(width, width)
        self.film = FiLM(num_conditions, width)
        self.out = nn.Linear(width, width, bias=False)

    def forward(
        self, hidden_XBW: torch.Tensor, conditions_BQ: torch.Tensor, fourier: TruncatedFourier
    ) -> torch.Tensor:
        """Return the next hidden field, (*sites, B, W)."""
        linear_XBW = self.spectral(hidden_XBW, fourier, addend=self.local(hidden_XBW))
        activation_XBW = nn.functional.gelu(modulate(linear_XBW, self.film.coefficients(conditions_BQ)))
        # One fused product and sum: h + V a.
        next_XBW = torch.addmm(hidden_XBW.flatten(0, -2), activation_XBW.flatten(0, -2), self.out.weight.T)
        return next_XBW.view_as(hidden_XBW)

    def coefficients(self, conditions_BQ: torch.Tensor) -> Coefficients:
        """Return the scale and the shift of K h + W h, without the scale if it is 1."""
        if not (coefficients := self.film.coefficients(conditions_BQ)):
            return (self.local.bias,)
        scale_BW, shift_BW = coefficients
        return scale_BW, torch.addcmul(shift_BW, scale_BW, self.local.bias)

    def advance_(
        self, hidden_XBW: torch.Tensor, coefficients: Coefficients, fourier: TruncatedFourier
    ) -> None:
        """Replace the contiguous hidden field by the next one in place, without gradients."""
        hidden_NW = hidden_XBW.flatten(0, -2)
        linear_XBW = (hidden_NW @ self.local.weight.T).view_as(hidden_XBW)
        self.spectral.add_(linear_XBW, hidden_XBW, fourier)
        *scales, shift = coefficients
        linear_XBW = (
            torch.addcmul(shift, linear_XBW, *scales, out=linear_XBW) if scales else linear_XBW.add_(shift)
        )
        hidden_NW.addmm_(nn.functional.gelu(linear_XBW).flatten(0, -2), self.out.weight.T)
