"""The perceptron that jets pass through.

Shape letters: D axes of pure second derivatives, P derivatives that are taken together, I inputs, O outputs;
X stands for all points.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from surrogates.networks.taylor_mode import Jet, Orders, derivative, known, value


class Perceptron(nn.Module):
    """Layers of tanh, with first and second derivatives carried through them beside the values.

        h = tanh(z),    h_a = (1 - h²) z_a,    h_aa = (1 - h²) (z_aa - 2 h z_a²)

    A linear layer maps each of them by the same matrix, so that a derivative costs what a value costs, and
    training on a residual one backward pass. Weights start as Glorot & Bengio 2010 draw them (normally).

    Source: the recursion is Taylor mode of order two; Griewank & Walther 2008, "Evaluating Derivatives",
    chapter 13.
    """

    def __init__(self, num_in: int, num_out: int, *, width: int, layers: int):
        super().__init__()
        widths = [num_in, *[width] * layers, num_out]
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in itertools.pairwise(widths))
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, inputs_XI: torch.Tensor) -> torch.Tensor:
        """The values (*X, O) of inputs (*X, I)."""
        *hidden, last = self.layers
        values = inputs_XI
        for layer in hidden:
            values = _tanh(layer(values))
        found: torch.Tensor = last(values)
        return found

    def jet(self, inputs: Jet, orders: Orders, weights_XP: torch.Tensor | None = None) -> Jet:
        """The values (*X, O) and the derivatives of `orders`, of inputs (*X, I) with theirs.

        Of derivatives that `orders` takes together, the first is their sum with `weights_XP`, and the others
        are 0.
        """
        first = [axis for axis in orders.first if (axis,) not in orders.together]
        slopes = [_along(inputs, (axis,)) for axis in first]
        if weights_XP is None:
            curvature_DX1 = None
            names: tuple[tuple[str, ...], ...] = tuple((axis, axis) for axis in orders.second)
            bends = [_along(inputs, path) for path in names]
        else:
            weights = dict(zip(orders.together, weights_XP[..., None].unbind(-2), strict=True))
            names = orders.together[:1]
            bends = [torch.stack([weight * _along(inputs, path) for path, weight in weights.items()]).sum(0)]
            curved = [weights[axis, axis] for axis in orders.second]
            curvature_DX1 = torch.stack(curved) if curved else inputs.value.new_empty(0)
        values, *found = self._carried(inputs.value, slopes, bends, curvature_DX1)
        derivatives: dict[tuple[str, ...], Any] = {(): values, **dict.fromkeys(orders.together, 0.0)}
        paths = [*((axis,) for axis in first), *names]
        return known(derivatives | dict(zip(paths, found, strict=True)))

    def _carried(
        self,
        values_XI: torch.Tensor,
        slopes: list[torch.Tensor],
        bends: list[torch.Tensor],
        curvature_DX1: torch.Tensor | None,
    ) -> list[torch.Tensor]:
        """What becomes of the values, of first derivatives and of second ones or their sum, each (*X, O)."""
        *hidden, last = self.layers
        streams = [values_XI, *slopes, *bends]
        for layer in hidden:
            streams = list(
                _Tanh.apply(curvature_DX1, len(slopes), *_mapped(streams, layer))  # type: ignore[no-untyped-call]
            )
        return _mapped(streams, last)


class _Tanh(torch.autograd.Function):
    """tanh of z, and what becomes of its first derivatives z_a and its second ones, or their sum, z_k:

        h = tanh(z),    s = 1 - h²,    h_a = s z_a,    h_k = s (z_k - 2 h q_k),    q_k = Σ_a c_ka z_a²

    where the curvature c is 1 for the second derivative along a, and the weight of that one in a sum. Its
    own gradient is written out, as it needs but h and what is on the right:

        ∂z   = s (g - 2 h (Σ g_a z_a + Σ g_k z_k)) - s (2 - 6 h²) Σ g_k q_k
        ∂z_a = s g_a - 4 h s Σ_k g_k c_ka z_a
        ∂z_k = s g_k

    Streams are tensors of their own, of one size: so each is still in the cache for its next use.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        curvature_DX1: torch.Tensor | None, num_first: int, z: torch.Tensor, *streams: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        h = _tanh(z)
        slope = 1 - h * h
        first = [slope * z_a for z_a in streams[:num_first]]
        bends = []
        for number, z_k in enumerate(streams[num_first:]):
            bent = z_k
            for _, z_a, c_z in _curved(curvature_DX1, number, streams):
                bent = torch.addcmul(bent, h, c_z * z_a, value=-2)
            bends.append(slope * bent)
        return (h, *first, *bends)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
        curvature_DX1, ctx.num_first, _, *streams = inputs
        ctx.save_for_backward(curvature_DX1, output[0], *streams)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        curvature_DX1, h, *streams = ctx.saved_tensors
        square = h * h
        slope = 1 - square
        before = [slope * gradient for gradient in gradients[1:]]
        straight = gradients[0]
        for gradient, z in zip(gradients[1:], streams, strict=True):
            straight = torch.addcmul(straight, h, gradient * z, value=-2)
        back = slope * straight
        for number, bent in enumerate(before[ctx.num_first :]):
            h_bent, outer = h * bent, (6 * square - 2) * bent
            for place, z_a, c_z in _curved(curvature_DX1, number, streams):
                before[place] = torch.addcmul(before[place], h_bent, c_z, value=-4)
                back = torch.addcmul(back, outer, c_z * z_a)
        return None, None, back, *before


def _curved(
    curvature_DX1: torch.Tensor | None, number: int, streams: Sequence[torch.Tensor]
) -> list[tuple[int, torch.Tensor, torch.Tensor]]:
    """For each first derivative whose square enters the second one `number`: its place, it, and it times its
    curvature.
    """
    if curvature_DX1 is None:
        return [(number, streams[number], streams[number])]
    weighted = zip(curvature_DX1, streams, strict=False)
    return [(place, z_a, c * z_a) for place, (c, z_a) in enumerate(weighted)]


def _tanh(values: torch.Tensor) -> torch.Tensor:
    """tanh; by the logistic function, which takes a quarter of the time on processors."""
    return 2 * torch.sigmoid(2 * values) - 1


def _mapped(streams: list[torch.Tensor], layer: nn.Module) -> list[torch.Tensor]:
    """What a linear layer makes of values and of derivatives, which its bias does not change."""
    values, *derivatives = streams
    assert isinstance(layer, nn.Linear)
    return [layer(values), *(nn.functional.linear(each, layer.weight) for each in derivatives)]


def _along(inputs: Jet, path: tuple[str, ...]) -> torch.Tensor:
    """A derivative of the inputs, in their shape even where it is a number."""
    found: Any = inputs
    for axis in path:
        found = derivative(found, axis)
    return torch.as_tensor(value(found)).to(inputs.value).expand(inputs.value.shape)
