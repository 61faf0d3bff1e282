"""The linear operator that several derivatives in an equation form: a network carries their sum as one.

Of u_t, u_xx and u_yy heat needs u_t - k (u_xx + u_yy) alone, and to carry a sum through a network costs what
one derivative costs. Where an equation is linear in some derivatives, with coefficients that no unknown field
enters, and all of its coefficients are multiples of the same weights w, it can be had from

    L = ∂_1 + w_2 ∂_2 + ... + w_P ∂_P

with L in the place of ∂_1 and 0 in that of the others. The same holds for what the network is multiplied by
and added to, as the rules of calculus are linear in each derivative.

Source: "forward Laplacian": Li et al. 2024 (doi:10.1038/s42256-024-00794-x), section "Forward Laplacian".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from surrogates.networks.taylor_mode import Jet, Orders, derivative, value

Path = tuple[str, ...]
#: Fields by name to what is left of the equations, by name.
Residual = Callable[[Mapping[str, Any]], dict[str, Any]]

#: Along this axis, which no solver has, one derivative grows at rate 1 and all else is constant.
_MARK = "the derivative in question"
#: Coefficients of size 1 that differ by less are the same.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Operator:
    """Derivatives that are needed as one sum, by the axes along which they are taken; `equation` tells their
    weights by its coefficients of those of `channel`, of which the first is 1.
    """

    paths: tuple[Path, ...]
    equation: str
    channel: str

    def weights(self, residual: Residual, fields: Mapping[str, Any]) -> torch.Tensor:
        """The weights (M, P) at points with `fields` (M,), jets, of which the unknown ones do not matter."""
        found = [_coefficients(residual, fields, self.channel, path)[self.equation] for path in self.paths]
        like = value(fields[self.channel])
        return torch.stack([(each / found[0] + torch.zeros_like(like)).to(like) for each in found], dim=-1)


def operator(
    residual: Residual, channels: Sequence[str], states: Sequence[Mapping[str, Any]], orders: Orders
) -> Operator | None:
    """The one that spares most; None where the derivatives in `orders` are all needed by themselves.

    `states` are fields (M,) as jets with random derivatives, at the same points: only those of `channels`
    differ from state to state.
    """
    bends = tuple((axis, axis) for axis in orders.second)
    rest = tuple((axis,) for axis in orders.first if axis not in orders.second)
    for paths in (rest + bends, bends):
        if len(paths) > 1:
            tables = [_table(residual, channels, fields, paths) for fields in states]
            found = _operator(tables, paths)
            if found is not None:
                return found
    return None


#: The coefficients (P, M) of derivatives, by equation and channel.
_Table = dict[tuple[str, str], torch.Tensor]


def _table(
    residual: Residual, channels: Sequence[str], fields: Mapping[str, Any], paths: Sequence[Path]
) -> _Table:
    table: dict[tuple[str, str], list[torch.Tensor]] = {}
    for channel in channels:
        zero = torch.zeros_like(value(fields[channel]))
        for path in paths:
            for equation, found in _coefficients(residual, fields, channel, path).items():
                table.setdefault((equation, channel), []).append(found + zero)
    return {key: torch.stack(found) for key, found in table.items()}


def _operator(tables: Sequence[_Table], paths: Sequence[Path]) -> Operator | None:
    first, second = tables

    def alike(equation: str, one: torch.Tensor, other: torch.Tensor) -> bool:
        # Of one equation: others may have units in which their coefficients are far larger.
        those = [found for (name, _), found in first.items() if name == equation]
        largest = torch.stack(those).abs().amax((0, 2))[:, None]
        # Not `any(>)`: what is no number is not alike.
        return bool(((one - other).abs() <= _ROUNDING * largest).all())

    if not all(alike(key[0], first[key], second[key]) for key in first):
        return None
    for (equation, channel), lead in _leads(first):
        weights = first[equation, channel] / first[equation, channel][lead]
        if all(alike(name, found, found[lead] * weights) for (name, _), found in first.items()):
            order = (paths[lead], *paths[:lead], *paths[lead + 1 :])
            return Operator(order, equation, channel)
    return None


def _leads(table: _Table) -> Iterator[tuple[tuple[str, str], int]]:
    """Coefficients that are nowhere 0, by which others can be divided."""
    return ((key, place) for key, found in table.items() for place, each in enumerate(found) if each.all())


def _coefficients(residual: Residual, fields: Mapping[str, Any], channel: str, path: Path) -> dict[str, Any]:
    """How fast each equation grows with the derivative `path` of a channel, (M,) or a number."""

    def marked(jet: Jet, name: str, taken: Path = ()) -> Jet:
        def along(axis: str) -> Any:
            if axis == _MARK:
                return torch.ones_like(jet.value) if (name, taken) == (channel, path) else 0.0
            inner = derivative(jet, axis)
            whole = inner if isinstance(inner, Jet) else Jet(torch.zeros_like(jet.value), lambda _: 0.0)
            return marked(whole, name, tuple(sorted((*taken, axis))))

        return Jet(jet.value, along)

    left = residual({name: marked(jet, name) for name, jet in fields.items()})
    return {name: value(derivative(each, _MARK)) for name, each in left.items()}
