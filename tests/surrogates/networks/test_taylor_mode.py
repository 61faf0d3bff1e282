"""Jets (Taylor mode) compared with reverse mode: arithmetic, networks and missing derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from surrogates.networks.taylor_mlp import Perceptron
from surrogates.networks.taylor_mode import (
    Jet,
    Orders,
    UnknownDerivativeError,
    coordinate,
    cos,
    derivative,
    jet_of_derivatives,
    orders,
    sin,
    stack,
    value,
)

X = torch.linspace(0.3, 1.7, 6, dtype=torch.float64)
Y = torch.linspace(-1.1, 0.9, 6, dtype=torch.float64)

#: Functions of x and y for tensors and for jets.
FUNCTIONS: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "sum": lambda x, y, sin, cos: x + 2 * y - 3.0 + X,
    "difference": lambda x, y, sin, cos: 1.0 - x - (X - y),
    "product": lambda x, y, sin, cos: X * x * y * 2,
    "quotient": lambda x, y, sin, cos: x / (y + 3) / 2 + 1 / x + X / (x + 1),
    "power": lambda x, y, sin, cos: (x * x + y * y) ** -1.5 + x**1 + x**3,
    "waves": lambda x, y, sin, cos: sin(3 * x * y) * cos(x) - cos(2.0 * y),
    "constant along y": lambda x, y, sin, cos: sin(x) * x,
}


def by_reverse_mode(function: Callable[[Any, Any, Any, Any], Any], axes: str) -> torch.Tensor:
    coordinates = {"x": X.clone().requires_grad_(), "y": Y.clone().requires_grad_()}
    # Reverse mode refuses a derivative along an unused axis, so a zero term uses both axes.
    result = (
        function(coordinates["x"], coordinates["y"], torch.sin, torch.cos)
        + 0 * (coordinates["x"] * coordinates["y"]) ** 3
    )
    for axis in axes:
        (result,) = torch.autograd.grad(result.sum(), coordinates[axis], create_graph=True)
    return result.detach()


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("axes", ["", "x", "y", "xx", "xy", "yx", "yy", "xxy"])
def test_arithmetic_follows_the_rules_of_calculus(name: str, axes: str) -> None:
    function = FUNCTIONS[name]
    result = function(coordinate(X, "x"), coordinate(Y, "y"), sin, cos)
    for axis in axes:
        result = derivative(result, axis)
    expected = by_reverse_mode(function, axes)
    torch.testing.assert_close(value(result) + torch.zeros_like(X), expected, rtol=1e-12, atol=1e-12)


def test_jets_of_pairs_of_particles_are_indexed_summed_and_compared() -> None:
    """Differentiate the gravity of three bodies along t, in the form of a solver."""
    time = torch.tensor([[0.2], [0.9]], dtype=torch.float64)
    rates = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)

    def accelerations(t: Any, sin: Any) -> Any:
        x = sin(t * rates)
        separations = x[..., None, :] - x[..., :, None]
        squared_separations = separations * separations + 0.1
        return ((squared_separations + (squared_separations == 0)) ** -1.5 * separations).sum(-1)

    t = time.clone().requires_grad_()
    # The gradient with respect to the time of each row is the time derivative.
    (expected,) = torch.autograd.grad(accelerations(t, torch.sin)[:, 1].sum(), t)
    result = accelerations(coordinate(time, "t"), sin)
    torch.testing.assert_close(derivative(result, "t").value[:, 1:2], expected, rtol=1e-12, atol=0)
    assert not (result < 0).equal(result >= 0)


def test_derivatives_are_computed_on_demand() -> None:
    calls = []

    def derivative_along(axis: str) -> Any:
        calls.append(axis)
        return 1.0

    x = Jet(X, derivative_along)
    result = x * x * 2 + x**2
    assert not calls
    torch.testing.assert_close(derivative(result, "x").value, 6 * X)
    assert set(calls) == {"x"}


def build_network(num_in: int = 3) -> Perceptron:
    torch.manual_seed(0)
    return Perceptron(num_in, 2, width=7, layers=3).double()


def test_the_jet_of_a_perceptron_is_its_derivatives() -> None:
    perceptron = build_network()

    def features(x: Any, y: Any, sin: Any, cos: Any, stack: Any) -> Any:
        return stack([sin(3 * x), cos(3 * x), y * 0.5])

    jet = perceptron.jet(
        features(coordinate(X, "x"), coordinate(Y, "y"), sin, cos, stack), Orders(("x", "y"), ("x",))
    )

    def channel(x: torch.Tensor, y: torch.Tensor, sin: Any, cos: Any) -> torch.Tensor:
        inputs = features(x, y, sin, cos, lambda values: torch.stack(values, dim=-1))
        result: torch.Tensor = perceptron(inputs)[..., 1]
        return result

    for axes in ("", "x", "y", "xx"):
        result = jet[..., 1]
        for axis in axes:
            result = derivative(result, axis)
        torch.testing.assert_close(result.value, by_reverse_mode(channel, axes), rtol=1e-11, atol=1e-13)


def test_the_product_of_a_network_and_a_factor_has_the_right_derivatives() -> None:
    # The factor vanishes at the walls, as in hard boundary conditions.
    perceptron = build_network(2)

    def ansatz(x: Any, y: Any, sin: Any, cos: Any) -> Any:
        if isinstance(x, Jet):
            values = perceptron.jet(stack([x, y]), Orders(("x", "y"), ("x",)))
        else:
            values = perceptron(torch.stack([x, y], dim=-1))
        return 1 + y * x * (2 - x) * values[..., 0]

    for axes in ("", "x", "y", "xx"):
        result = ansatz(coordinate(X, "x"), coordinate(Y, "y"), sin, cos)
        for axis in axes:
            result = derivative(result, axis)
        torch.testing.assert_close(value(result), by_reverse_mode(ansatz, axes), rtol=1e-11, atol=1e-13)


def test_gradients_of_a_loss_on_derivatives_reach_all_weights() -> None:
    perceptron = build_network(2)
    inputs = stack([coordinate(X, "x"), coordinate(Y, "y")])

    def loss(weight: torch.Tensor) -> torch.Tensor:
        result = torch.func.functional_call(
            _Residual(perceptron), {"perceptron.layers.1.weight": weight}, (inputs,)
        )
        return result

    weight = perceptron.layers[1].weight.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, (weight,))
    _Residual(perceptron)(inputs).backward()
    names_without_gradient = [name for name, weight in perceptron.named_parameters() if weight.grad is None]
    assert not names_without_gradient


class _Residual(torch.nn.Module):
    def __init__(self, perceptron: Perceptron):
        super().__init__()
        self.perceptron = perceptron

    def forward(self, inputs: Jet) -> torch.Tensor:
        u = self.perceptron.jet(inputs, Orders(("x", "y"), ("x",)))
        left_side = derivative(u, "y") - derivative(derivative(u, "x"), "x") + u * derivative(u, "x")
        return left_side.value.square().mean()


def test_orders_are_the_derivatives_that_an_equation_uses() -> None:
    fields = {"u": X, "k": X}

    def heat(fields: dict[str, Any]) -> Any:
        flux = fields["k"] * derivative(fields["u"], "x")
        return derivative(fields["u"], "t") - derivative(flux, "x")

    assert orders(heat, fields) == Orders(("x", "t"), ("x",))
    assert orders(lambda fields: derivative(fields["u"], "t"), fields) == Orders(("t",), ())
    assert orders(lambda fields: derivative(derivative(fields["u"], "x"), "y"), fields) is None
    assert orders(lambda fields: derivative(heat(fields), "x"), fields) is None


def test_a_missing_derivative_is_an_error_and_not_zero() -> None:
    jet = jet_of_derivatives({(): X, ("x",): Y})
    assert derivative(jet, "x").value is Y
    with pytest.raises(UnknownDerivativeError, match="derivatives along x, and none along t"):
        derivative(jet, "t")
    with pytest.raises(UnknownDerivativeError, match="none along x and x"):
        derivative(derivative(jet, "x") * 2, "x")
