"""A multilayer perceptron that carries derivatives of its outputs (Taylor mode).

Shape letters: D axes of pure second derivatives, P derivatives in one weighted sum, I inputs,
O outputs; X stands for all points.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from surrogates.networks.taylor_mode import Jet, Orders, derivative, jet_of_derivatives, value


class Perceptron(nn.Module):
    """Layers of tanh that carry first and second derivatives together with the values.

        h = tanh(z),    h_a = (1 - h²) z_a,    h_aa = (1 - h²) (z_aa - 2 h z_a²)

    A linear layer maps values and derivatives by the same matrix. A derivative therefore costs as much as a
    value, and training on a residual takes one backward pass. The initial weights are normally distributed
    (Glorot & Bengio 2010).

    Source: the recursion is Taylor mode of order two; Griewank & Walther 2008, "Evaluating Derivatives",
    chapter 13.
    """

    def __init__(self, num_in: int, num_out: int, *, width: int, layers: int):
        super().__init__()
        widths = itertools.chain([num_in], itertools.repeat(width, layers), [num_out])
        self.layers = nn.ModuleList(
            nn.Linear(num_before, num_after) for num_before, num_after in itertools.pairwise(widths)
        )
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, inputs_XI: torch.Tensor) -> torch.Tensor:
        """Return the outputs (*X, O) of inputs (*X, I)."""
        *hidden_layers, last_layer = self.layers
        values = inputs_XI
        for layer in hidden_layers:
            values = _tanh(layer(values))
        outputs_XO: torch.Tensor = last_layer(values)
        return outputs_XO

    def jet(self, inputs: Jet, orders: Orders, weights_XP: torch.Tensor | None = None) -> Jet:
        """Return the outputs (*X, O), with the derivatives of `orders`.

        Args:
            inputs: the inputs (*X, I), with the same derivatives.
            orders: the derivatives to carry.
            weights_XP: the weights of the derivatives in `orders.weighted_sum`. In the result, the first of
                these derivatives is the weighted sum, and the others are 0.
        """
        axes = [axis for axis in orders.first if (axis,) not in orders.weighted_sum]
        first = [_derivative_along(inputs, (axis,)) for axis in axes]
        if weights_XP is None:
            curvature_DX1 = None
            names: tuple[tuple[str, ...], ...] = tuple((axis, axis) for axis in orders.second)
            second = [_derivative_along(inputs, path) for path in names]
        else:
            weights = dict(zip(orders.weighted_sum, weights_XP[..., None].unbind(-2), strict=True))
            names = orders.weighted_sum[:1]
            terms = [weight * _derivative_along(inputs, path) for path, weight in weights.items()]
            second = [torch.stack(terms).sum(0)]
            curvatures = [weights[axis, axis] for axis in orders.second]
            curvature_DX1 = torch.stack(curvatures) if curvatures else inputs.value.new_empty(0)
        values, *output_derivatives = self._propagate(inputs.value, first, second, curvature_DX1)
        derivatives: dict[tuple[str, ...], Any] = {(): values, **dict.fromkeys(orders.weighted_sum, 0.0)}
        paths = [*((axis,) for axis in axes), *names]
        return jet_of_derivatives(derivatives | dict(zip(paths, output_derivatives, strict=True)))

    def _propagate(
        self,
        values_XI: torch.Tensor,
        first: list[torch.Tensor],
        second: list[torch.Tensor],
        curvature_DX1: torch.Tensor | None,
    ) -> list[torch.Tensor]:
        """Return the values, first derivatives and second derivatives (or their sum) of the outputs."""
        *hidden_layers, last_layer = self.layers
        channels = [values_XI, *first, *second]
        for layer in hidden_layers:
            channels = list(
                _Tanh.apply(curvature_DX1, len(first), *_linear_map(channels, layer))  # type: ignore[no-untyped-call]
            )
        return _linear_map(channels, last_layer)


class _Tanh(torch.autograd.Function):
    """tanh of values z, with first derivatives z_a and second derivatives, or a sum of these, z_k:

        h = tanh(z),    s = 1 - h²,    h_a = s z_a,    h_k = s (z_k - 2 h q_k),    q_k = Σ_a c_ka z_a²

    The curvature c is 1 for the second derivative along a. In a sum of derivatives, c is the weight of that
    derivative. The gradient is written by hand, because h and the inputs determine it:

        ∂z   = s (g - 2 h (Σ g_a z_a + Σ g_k z_k)) - s (2 - 6 h²) Σ g_k q_k
        ∂z_a = s g_a - 4 h s Σ_k g_k c_ka z_a
        ∂z_k = s g_k

    Each derivative is a separate tensor of the size of z, which stays in the cache until its next use.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        curvature_DX1: torch.Tensor | None, num_first: int, z: torch.Tensor, *derivatives: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        h = _tanh(z)
        s = 1 - h * h
        first = [s * z_a for z_a in derivatives[:num_first]]
        second = []
        for index, z_k in enumerate(derivatives[num_first:]):
            inner_sum = z_k
            for _, z_a, c_z in _squared_terms(curvature_DX1, index, derivatives):
                inner_sum = torch.addcmul(inner_sum, h, c_z * z_a, value=-2)
            second.append(s * inner_sum)
        return (h, *first, *second)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
        curvature_DX1, ctx.num_first, _, *derivatives = inputs
        ctx.save_for_backward(curvature_DX1, output[0], *derivatives)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        curvature_DX1, h, *derivatives = ctx.saved_tensors
        square = h * h
        s = 1 - square
        derivative_gradients = [s * gradient for gradient in gradients[1:]]
        inner_sum = gradients[0]
        for gradient, z in zip(gradients[1:], derivatives, strict=True):
            inner_sum = torch.addcmul(inner_sum, h, gradient * z, value=-2)
        z_gradient = s * inner_sum
        for index, s_g in enumerate(derivative_gradients[ctx.num_first :]):
            h_s_g, outer_factor = h * s_g, (6 * square - 2) * s_g
            for a, z_a, c_z in _squared_terms(curvature_DX1, index, derivatives):
                derivative_gradients[a] = torch.addcmul(derivative_gradients[a], h_s_g, c_z, value=-4)
                z_gradient = torch.addcmul(z_gradient, outer_factor, c_z * z_a)
        return None, None, z_gradient, *derivative_gradients


def _squared_terms(
    curvature_DX1: torch.Tensor | None, index: int, derivatives: Sequence[torch.Tensor]
) -> list[tuple[int, torch.Tensor, torch.Tensor]]:
    """Return the terms (a, z_a, c_ka z_a) of the sum q_k of the second derivative k = `index`."""
    if curvature_DX1 is None:
        return [(index, derivatives[index], derivatives[index])]
    pairs = zip(curvature_DX1, derivatives, strict=False)
    return [(a, z_a, c * z_a) for a, (c, z_a) in enumerate(pairs)]


def _tanh(values: torch.Tensor) -> torch.Tensor:
    """Return tanh by the logistic function, which takes a quarter of the time on processors."""
    return 2 * torch.sigmoid(2 * values) - 1


def _linear_map(channels: list[torch.Tensor], layer: nn.Module) -> list[torch.Tensor]:
    """Return a linear layer applied to values and derivatives; the bias changes only the values."""
    values, *derivatives = channels
    assert isinstance(layer, nn.Linear)
    return [layer(values), *(nn.functional.linear(tensor, layer.weight) for tensor in derivatives)]


def _derivative_along(inputs: Jet, path: tuple[str, ...]) -> torch.Tensor:
    """Return a derivative of the inputs, expanded to the shape of the inputs if it is a number."""
    result: Any = inputs
    for axis in path:
        result = derivative(result, axis)
    return torch.as_tensor(value(result)).to(inputs.value).expand(inputs.value.shape)
