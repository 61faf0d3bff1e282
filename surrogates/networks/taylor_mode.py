"""Values that know their derivatives: forward-mode Taylor arithmetic along named axes.

A solver's `residual` is plain arithmetic over a `derivative` that the caller supplies. On jets, with the
`derivative` below, it computes the residual of a network without a second pass through it: the network gives
the derivatives that the equation needs beside its values, and sums, products and powers follow the rules of
calculus. A derivative is computed when it is asked for, and never otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


class UnknownDerivativeError(ArithmeticError):
    """A derivative was asked for that a jet does not carry."""


class Jet:
    """A tensor `value` and its derivatives: `along(axis)` is that along a named axis, itself a jet.

    Jets add, subtract, multiply and divide with jets, tensors and numbers, and can be raised to a number's
    power, indexed and summed. Tensors and numbers count as constant along every axis; a derivative that
    vanishes everywhere is the number 0.0, and costs nothing.
    """

    # A numpy array or number on the left lets the jet on the right do the arithmetic.
    __array_ufunc__ = None

    def __init__(self, value: torch.Tensor, along: Callable[[str], Any]):
        self.value = value
        self.along = along

    def linear(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Jet:
        """A function that is linear in all values at once, such as an index, a sum, or a matrix product."""
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
            one = _product(derivative(self, axis), other)
            return _sum(one, _product(self, derivative(other, axis)))

        return Jet(self.value * value(other), along)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Jet:
        return self.__mul__(other**-1 if isinstance(other, Jet) else 1 / other)

    def __rtruediv__(self, other: Any) -> Jet:
        return self.__pow__(-1).__mul__(other)

    def __pow__(self, exponent: float) -> Jet:
        def along(axis: str) -> Any:
            slope = exponent if exponent == 1 else exponent * self ** (exponent - 1)
            return _product(slope, derivative(self, axis))

        return Jet(self.value**exponent, along)

    def __getitem__(self, index: Any) -> Jet:
        return self.linear(lambda values: values[index])

    def sum(self, axis: int) -> Jet:
        """The sum over an axis of the tensors."""
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
        """Lets a tensor on the left of an operator hand it to the jet on the right."""
        return NotImplemented


def derivative(values: Any, axis: str) -> Any:
    """The derivative along an axis: that of a jet, and 0 of what is constant.

    Raises:
        UnknownDerivativeError: the jet does not carry it.
    """
    return values.along(axis) if isinstance(values, Jet) else 0.0


def value(values: Any) -> Any:
    """The value of a jet; anything else stands for itself."""
    return values.value if isinstance(values, Jet) else values


def coordinate(values: torch.Tensor, axis: str) -> Jet:
    """The coordinate along an axis as a jet: its derivative along this axis is 1."""
    return Jet(values, lambda along: torch.ones_like(values) if along == axis else 0.0)


def sin(angle: Jet) -> Jet:
    """The sine."""
    return Jet(angle.value.sin(), lambda axis: _product(derivative(angle, axis), cos(angle)))


def cos(angle: Jet) -> Jet:
    """The cosine."""
    return Jet(angle.value.cos(), lambda axis: _product(-derivative(angle, axis), sin(angle)))


def stack(parts: Sequence[Any]) -> Jet:
    """Jets and tensors, one of them a jet at least, along a new last axis of the tensors."""
    shape = np.broadcast_shapes(*(tuple(value(part).shape) for part in parts))

    def joined(pieces: Sequence[Any]) -> torch.Tensor:
        return torch.stack([value(piece).expand(shape) for piece in pieces], dim=-1)

    def along(axis: str) -> Any:
        slopes = [derivative(part, axis) for part in parts]
        if all(_is_zero(slope) for slope in slopes):
            return 0.0
        zero = joined(parts)[..., 0] * 0
        whole = [
            zero if _is_zero(slope) else _linear(slope, lambda each: each.expand(shape)) for slope in slopes
        ]
        return stack(whole) if any(isinstance(slope, Jet) for slope in whole) else joined(whole)

    return Jet(joined(parts), along)


def known(derivatives: Mapping[tuple[str, ...], Any], path: tuple[str, ...] = ()) -> Jet:
    """A jet of what was computed: `derivatives` maps the axes along which was differentiated, in the order
    of the alphabet, to tensors, or to 0.0; `()` to the value itself. `path` is the derivative that the jet
    stands for.
    """

    def along(axis: str) -> Any:
        longer = tuple(sorted((*path, axis)))
        if longer not in derivatives:
            carried = ", ".join("_".join(key) for key in derivatives if key)
            raise UnknownDerivativeError(
                f"the derivative along {' and '.join(longer)} is not carried; those along {carried} are"
            )
        return 0.0 if _is_zero(derivatives[longer]) else known(derivatives, longer)

    return Jet(derivatives[path], along)


@dataclass(frozen=True)
class Orders:
    """Derivatives that a network carries: along the axes `first`, and twice along those of `second`, which
    are the first ones of `first`. Those of `together`, if any, are carried as one weighted sum (see
    `surrogates.physics.forward_laplacian`).
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    together: tuple[tuple[str, ...], ...] = ()


def orders(residual: Callable[[dict[str, Any]], object], fields: Mapping[str, torch.Tensor]) -> Orders | None:
    """What an equation asks of its fields; None where that is more than first and pure second derivatives.

    `residual` is called once with jets of `fields`, whose values do not matter.
    """
    asked: set[tuple[str, ...]] = set()

    def watched(values: torch.Tensor, path: tuple[str, ...] = ()) -> Jet:
        def along(axis: str) -> Jet:
            longer = tuple(sorted((*path, axis)))
            asked.add(longer)
            return watched(values, longer)

        return Jet(values, along)

    residual({name: watched(values) for name, values in fields.items()})
    if any(len(path) > 2 or len(set(path)) > 1 for path in asked):
        return None
    second = tuple(sorted({path[0] for path in asked if len(path) == 2}))
    return Orders((*second, *sorted({path[0] for path in asked} - set(second))), second)


def _is_zero(values: Any) -> bool:
    return isinstance(values, float) and values == 0


# torch.compile traces no operator between a jet and a tensor, but calls of the jet's methods.


def _sum(one: Any, other: Any) -> Any:
    if _is_zero(one) or _is_zero(other):
        return other if _is_zero(one) else one
    if isinstance(one, Jet):
        return one.__add__(other)
    return other.__add__(one) if isinstance(other, Jet) else one + other


def _product(one: Any, other: Any) -> Any:
    if _is_zero(one) or _is_zero(other):
        return 0.0
    if isinstance(one, Jet):
        return one.__mul__(other)
    return other.__mul__(one) if isinstance(other, Jet) else one * other


def _linear(values: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    if isinstance(values, Jet):
        return values.linear(function)
    return 0.0 if _is_zero(values) else function(values)
