"""Forward-mode Taylor arithmetic along named axes (Taylor mode): tensors with their derivatives, called jets.

A solver's `residual` is plain arithmetic over a `derivative` that the caller supplies. On jets, with the
`derivative` of this module, `residual` computes the residual of a network without a second pass through the
network. The network returns the derivatives that the equation needs together with its values. Sums, products
and powers of jets follow the rules of calculus. A derivative is computed on demand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


class UnknownDerivativeError(ArithmeticError):
    """A derivative that a jet does not carry."""


class Jet:
    """A tensor `value` and its derivatives: `along(axis)` is the derivative along a named axis, as a jet.

    Jets add, subtract, multiply and divide with jets, tensors and numbers, and can be raised to a number's
    power, indexed and summed. Tensors and numbers are constant along every axis. A derivative that vanishes
    everywhere is the number 0.0 and costs nothing.
    """

    # With None, a NumPy array or number on the left calls the reflected operator of the jet on the right.
    __array_ufunc__ = None

    def __init__(self, value: torch.Tensor, along: Callable[[str], Any]):
        self.value = value
        self.along = along

    def linear(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Jet:
        """Return a function of the jet that is linear in all values: an index, a sum, a matrix product."""
        return Jet(function(self.value), lambda axis: _linear(derivative(self, axis), function))

    def __add__(self, other: Any) -> Jet:
        return Jet(
            self.value + value(other), lambda axis: _sum(derivative(self, axis), derivative(other, axis))
        )

    __radd__ = __add__

    def __neg__(self) -> Jet:
        return self.linear(torch.neg)

    def __sub__(self, other: Any) -> Jet:
        return self.__add__(-other)

    def __rsub__(self, other: Any) -> Jet:
        return self.__neg__().__add__(other)

    def __mul__(self, other: Any) -> Jet:
        def along(axis: str) -> Any:
            left = _product(derivative(self, axis), other)
            return _sum(left, _product(self, derivative(other, axis)))

        return Jet(self.value * value(other), along)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Jet:
        return self.__mul__(other**-1 if isinstance(other, Jet) else 1 / other)

    def __rtruediv__(self, other: Any) -> Jet:
        return self.__pow__(-1).__mul__(other)

    def __pow__(self, exponent: float) -> Jet:
        def along(axis: str) -> Any:
            outer = exponent if exponent == 1 else exponent * self ** (exponent - 1)
            return _product(outer, derivative(self, axis))

        return Jet(self.value**exponent, along)

    def __getitem__(self, index: Any) -> Jet:
        return self.linear(lambda values: values[index])

    def sum(self, axis: int) -> Jet:
        """Return the sum over an axis of the tensors."""
        return self.linear(lambda values: values.sum(axis))

    def __eq__(self, other: object) -> torch.Tensor:  # type: ignore[override]
        return torch.eq(self.value, value(other))

    __hash__ = None  # type: ignore[assignment]

    def __lt__(self, other: Any) -> torch.Tensor:
        return torch.lt(self.value, value(other))

    def __ge__(self, other: Any) -> torch.Tensor:
        return torch.ge(self.value, value(other))

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Return NotImplemented, which makes `tensor + jet` call the reflected operator of the jet."""
        return NotImplemented


def derivative(values: Any, axis: str) -> Any:
    """Return the derivative along an axis: 0.0 for everything except jets.

    Raises:
        UnknownDerivativeError: the jet does not carry the derivative.
    """
    return values.along(axis) if isinstance(values, Jet) else 0.0


def value(values: Any) -> Any:
    """Return the value of a jet, and every other argument unchanged."""
    return values.value if isinstance(values, Jet) else values


def coordinate(values: torch.Tensor, axis: str) -> Jet:
    """Return the coordinate along an axis as a jet, with the derivative 1 along this axis."""
    return Jet(values, lambda along: torch.ones_like(values) if along == axis else 0.0)


def sin(angle: Jet) -> Jet:
    """Return the sine of a jet."""
    return Jet(angle.value.sin(), lambda axis: _product(derivative(angle, axis), cos(angle)))


def cos(angle: Jet) -> Jet:
    """Return the cosine of a jet."""
    return Jet(angle.value.cos(), lambda axis: _product(-derivative(angle, axis), sin(angle)))


def stack(components: Sequence[Any]) -> Jet:
    """Return jets and tensors, with at least one jet, stacked along a new last axis."""
    shape = np.broadcast_shapes(*(tuple(value(component).shape) for component in components))

    def stacked_values(values: Sequence[Any]) -> torch.Tensor:
        return torch.stack([value(component).expand(shape) for component in values], dim=-1)

    def along(axis: str) -> Any:
        derivatives = [derivative(component, axis) for component in components]
        if all(_is_zero(component) for component in derivatives):
            return 0.0
        zero = stacked_values(components)[..., 0] * 0
        expanded_derivatives = [
            zero if _is_zero(component) else _linear(component, lambda values: values.expand(shape))
            for component in derivatives
        ]
        return (
            stack(expanded_derivatives)
            if any(isinstance(component, Jet) for component in expanded_derivatives)
            else stacked_values(expanded_derivatives)
        )

    return Jet(stacked_values(components), along)


def jet_of_derivatives(derivatives: Mapping[tuple[str, ...], Any], path: tuple[str, ...] = ()) -> Jet:
    """Return a jet of derivatives that are already computed.

    Args:
        derivatives: tensors, or 0.0, by the axes of differentiation in alphabetical order; `()` is the value.
        path: the axes of the derivative that the jet represents.
    """

    def along(axis: str) -> Any:
        longer_path = tuple(sorted((*path, axis)))
        if longer_path not in derivatives:
            known_axes = ", ".join("_".join(key) for key in derivatives if key)
            raise UnknownDerivativeError(
                f"The jet has derivatives along {known_axes}, and none along {' and '.join(longer_path)}."
            )
        return 0.0 if _is_zero(derivatives[longer_path]) else jet_of_derivatives(derivatives, longer_path)

    return Jet(derivatives[path], along)


@dataclass(frozen=True)
class Orders:
    """The derivatives that a network carries.

    Attributes:
        first: the axes of first derivatives, beginning with the axes in `second`.
        second: the axes of pure second derivatives.
        weighted_sum: the derivatives carried as one weighted sum, see `surrogates.physics.forward_laplacian`.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    weighted_sum: tuple[tuple[str, ...], ...] = ()


def orders(
    residual: Callable[[dict[str, object]], object], fields: Mapping[str, torch.Tensor]
) -> Orders | None:
    """Return the derivatives of the fields that an equation uses.

    Return None for mixed derivatives and derivatives above the second. `residual` is called once with jets of
    `fields`, whose values have no effect.
    """
    used_paths: set[tuple[str, ...]] = set()

    def recording_jet(values: torch.Tensor, path: tuple[str, ...] = ()) -> Jet:
        def along(axis: str) -> Jet:
            longer_path = tuple(sorted((*path, axis)))
            used_paths.add(longer_path)
            return recording_jet(values, longer_path)

        return Jet(values, along)

    residual({name: recording_jet(values) for name, values in fields.items()})
    if any(len(path) > 2 or len(set(path)) > 1 for path in used_paths):
        return None
    second_axes = tuple(sorted({path[0] for path in used_paths if len(path) == 2}))
    return Orders((*second_axes, *sorted({path[0] for path in used_paths} - set(second_axes))), second_axes)


def _is_zero(values: Any) -> bool:
    return isinstance(values, float) and values == 0


# torch.compile cannot trace an operator between a jet and a tensor, but it can trace calls of the methods.


def _sum(left: Any, right: Any) -> Any:
    if _is_zero(left) or _is_zero(right):
        return right if _is_zero(left) else left
    if isinstance(left, Jet):
        return left.__add__(right)
    return right.__add__(left) if isinstance(right, Jet) else left + right


def _product(left: Any, right: Any) -> Any:
    if _is_zero(left) or _is_zero(right):
        return 0.0
    if isinstance(left, Jet):
        return left.__mul__(right)
    return right.__mul__(left) if isinstance(right, Jet) else left * right


def _linear(values: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    if isinstance(values, Jet):
        return values.linear(function)
    return 0.0 if _is_zero(values) else function(values)
