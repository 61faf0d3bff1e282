"""Forward-mode Taylor arithmetic along named axes (Taylor mode): tensors with their derivatives, called jets.

A solver's `residual` is plain arithmetic over a `derivative` that the caller supplies. On jets, with the
`derivative` of this module, it computes the residual of a network without a second pass through the network:
the network returns the derivatives that the equation needs together with its values, and sums, products and
powers follow the rules of calculus. A derivative is computed on demand.
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
    """A tensor `value` and its derivatives: `along(axis)` is the derivative along a named axis, itself a jet.

    Jets add, subtract, multiply and divide with jets, tensors and numbers, and can be raised to a number's
    power, indexed and summed. Tensors and numbers are constant along every axis. A derivative that vanishes
    everywhere is the number 0.0, at no cost.
    """

    # With None, a numpy array or number on the left leaves the operator to the jet on the right.
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
        """Return NotImplemented, so that `tensor + jet` calls the reflected operator of the jet."""
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


def stack(parts: Sequence[Any]) -> Jet:
    """Return jets and tensors, at least one of them a jet, stacked along a new last axis."""
    shape = np.broadcast_shapes(*(tuple(value(part).shape) for part in parts))

    def stacked(values: Sequence[Any]) -> torch.Tensor:
        return torch.stack([value(part).expand(shape) for part in values], dim=-1)

    def along(axis: str) -> Any:
        derivatives = [derivative(part, axis) for part in parts]
        if all(_is_zero(part) for part in derivatives):
            return 0.0
        zero = stacked(parts)[..., 0] * 0
        expanded = [
            zero if _is_zero(part) else _linear(part, lambda values: values.expand(shape))
            for part in derivatives
        ]
        return stack(expanded) if any(isinstance(part, Jet) for part in expanded) else stacked(expanded)

    return Jet(stacked(parts), along)


def jet_of_derivatives(derivatives: Mapping[tuple[str, ...], Any], path: tuple[str, ...] = ()) -> Jet:
    """Return a jet of derivatives that are already computed.

    Args:
        derivatives: tensors, or 0.0, by the axes of differentiation in alphabetical order; `()` is the value.
        path: the axes of the derivative that the jet stands for.
    """

    def along(axis: str) -> Any:
        longer = tuple(sorted((*path, axis)))
        if longer not in derivatives:
            carried = ", ".join("_".join(key) for key in derivatives if key)
            raise UnknownDerivativeError(
                f"The jet has derivatives along {carried}, and none along {' and '.join(longer)}."
            )
        return 0.0 if _is_zero(derivatives[longer]) else jet_of_derivatives(derivatives, longer)

    return Jet(derivatives[path], along)


@dataclass(frozen=True)
class Orders:
    """The derivatives that a network carries.

    Attributes:
        first: the axes of first derivatives, beginning with the axes in `second`.
        second: the axes of pure second derivatives.
        together: the derivatives carried as one weighted sum, see `surrogates.physics.forward_laplacian`.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    together: tuple[tuple[str, ...], ...] = ()


def orders(residual: Callable[[dict[str, Any]], object], fields: Mapping[str, torch.Tensor]) -> Orders | None:
    """Return the derivatives of the fields that an equation uses.

    Return None for mixed derivatives and derivatives above the second. `residual` is called once with jets of
    `fields`; the values of the fields do not matter.
    """
    used: set[tuple[str, ...]] = set()

    def recorded(values: torch.Tensor, path: tuple[str, ...] = ()) -> Jet:
        def along(axis: str) -> Jet:
            longer = tuple(sorted((*path, axis)))
            used.add(longer)
            return recorded(values, longer)

        return Jet(values, along)

    residual({name: recorded(values) for name, values in fields.items()})
    if any(len(path) > 2 or len(set(path)) > 1 for path in used):
        return None
    second = tuple(sorted({path[0] for path in used if len(path) == 2}))
    return Orders((*second, *sorted({path[0] for path in used} - set(second))), second)


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
