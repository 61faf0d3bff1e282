"""The weighted sum of derivatives in an equation, which a network carries as one derivative.

The heat equation uses u_t, u_xx and u_yy only as u_t - k (u_xx + u_yy). A network carries this sum at the
cost of one derivative. Let an equation be linear in some derivatives ∂_1 ... ∂_P, with coefficients that are
independent of the unknown fields and multiples of the same weights w. The residual then follows from

    L = ∂_1 + w_2 ∂_2 + ... + w_P ∂_P

with L in place of ∂_1 and 0 in place of the other derivatives. The rules of calculus are linear in each
derivative, so they also hold for L with factors of the network and terms added to the network.

Source: Li et al. 2024 (doi:10.1038/s42256-024-00794-x), section "Forward Laplacian".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from surrogates.networks.taylor_mode import Jet, Orders, derivative, value

#: The axes along which a derivative is taken, in alphabetical order.
Path = tuple[str, ...]
#: A function from the fields by name to the residuals by the names of the equations.
Residual = Callable[[Mapping[str, Any]], Mapping[str, Any]]

#: An artificial axis. One chosen derivative grows at rate 1 along this axis, and everything else is constant.
_PROBE = "the probed derivative"
#: The largest difference between equal coefficients of size 1.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class LinearOperator:
    """A linear differential operator, as weights of partial derivatives.

    Attributes:
        paths: the partial derivatives.
        equation: the equation with the coefficients that determine the weights.
        channel: the channel with these coefficients of its derivatives; the weight of the first path is 1.
    """

    paths: tuple[Path, ...]
    equation: str
    channel: str

    def weights(self, residual: Residual, fields: Mapping[str, Any]) -> torch.Tensor:
        """Return the weights (M, P) at points with `fields` (M,), as jets.

        The values of the unknown fields have no effect.
        """
        coefficients = [
            _coefficients(residual, fields, self.channel, path)[self.equation] for path in self.paths
        ]
        like = value(fields[self.channel])
        weights = [(values / coefficients[0] + torch.zeros_like(like)).to(like) for values in coefficients]
        return torch.stack(weights, dim=-1)


def find_operator(
    residual: Residual, channels: Sequence[str], states: Sequence[Mapping[str, Any]], orders: Orders
) -> LinearOperator | None:
    """Return the operator that replaces the most derivatives, or None if all `orders` are needed separately.

    `states` are two sets of fields (M,) as jets with random derivatives, at the same points. The two sets
    differ only in the `channels`.
    """
    second = tuple((axis, axis) for axis in orders.second)
    first_only = tuple((axis,) for axis in orders.first if axis not in orders.second)
    for paths in (first_only + second, second):
        if len(paths) > 1:
            tables = [_coefficient_table(residual, channels, fields, paths) for fields in states]
            operator = _common_operator(tables, paths)
            if operator is not None:
                return operator
    return None


#: The coefficients (P, M) of derivatives, by equation and channel.
_CoefficientTable = dict[tuple[str, str], torch.Tensor]


def _coefficient_table(
    residual: Residual, channels: Sequence[str], fields: Mapping[str, Any], paths: Sequence[Path]
) -> _CoefficientTable:
    table: dict[tuple[str, str], list[torch.Tensor]] = {}
    for channel in channels:
        zeros = torch.zeros_like(value(fields[channel]))
        for path in paths:
            for equation, coefficient in _coefficients(residual, fields, channel, path).items():
                table.setdefault((equation, channel), []).append(coefficient + zeros)
    return {key: torch.stack(coefficients) for key, coefficients in table.items()}


def _common_operator(tables: Sequence[_CoefficientTable], paths: Sequence[Path]) -> LinearOperator | None:
    """Return an operator with multiples equal to all coefficients of both tables, or None."""
    table, other_table = tables

    def are_equal(equation: str, coefficients: torch.Tensor, others: torch.Tensor) -> bool:
        # Each equation has its own scale, because its units may make the coefficients far larger.
        equation_coefficients = [values for (name, _), values in table.items() if name == equation]
        largest_coefficient = torch.stack(equation_coefficients).abs().amax((0, 2))[:, None]
        # A comparison with `<=` is False for NaN.
        return bool(((coefficients - others).abs() <= _ROUNDING * largest_coefficient).all())

    if not all(are_equal(key[0], table[key], other_table[key]) for key in table):
        return None
    for (equation, channel), lead_index in _nonzero_coefficients(table):
        weights = table[equation, channel] / table[equation, channel][lead_index]
        if all(are_equal(name, values, values[lead_index] * weights) for (name, _), values in table.items()):
            ordered_paths = (paths[lead_index], *paths[:lead_index], *paths[lead_index + 1 :])
            return LinearOperator(ordered_paths, equation, channel)
    return None


def _nonzero_coefficients(table: _CoefficientTable) -> Iterator[tuple[tuple[str, str], int]]:
    """Yield the keys and indices of coefficients that are nonzero at all points."""
    return (
        (key, index)
        for key, coefficients in table.items()
        for index, coefficient in enumerate(coefficients)
        if coefficient.all()
    )


def _coefficients(
    residual: Residual, fields: Mapping[str, Any], channel: str, path: Path
) -> dict[str, torch.Tensor | float]:
    """Return the coefficient of the derivative `path` of a channel in each equation, (M,) or a number."""

    def probed_jet(jet: Jet, name: str, jet_path: Path = ()) -> Jet:
        def along(axis: str) -> Any:
            if axis == _PROBE:
                return torch.ones_like(jet.value) if (name, jet_path) == (channel, path) else 0.0
            values = derivative(jet, axis)
            axis_jet = values if isinstance(values, Jet) else Jet(torch.zeros_like(jet.value), lambda _: 0.0)
            return probed_jet(axis_jet, name, tuple(sorted((*jet_path, axis))))

        return Jet(jet.value, along)

    residuals = residual({name: probed_jet(jet, name) for name, jet in fields.items()})
    return {name: value(derivative(residual_jet, _PROBE)) for name, residual_jet in residuals.items()}
