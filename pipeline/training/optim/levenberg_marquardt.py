"""Steps of Levenberg and Marquardt's method for losses that are sums of squares, of small networks.

Shape letters: M rows of residuals, E residuals of a row, P weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn
from torch.func import functional_call, jacrev, vmap
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from pipeline.config.settings import Training
from pipeline.parallel.ranks import Ranks
from pipeline.training.step import Model, count_step
from pipeline.training.train_state import State
from simsurrogate.errors import UserError
from surrogates.contract import Batch, LeastSquares, Surrogate

#: The normal equations of as many take 128 MiB, and a second to solve.
MOST_WEIGHTS = 4096
_MOST_DAMPING = 1e12
_ROOM_FOR_ROWS = 64 * 2**20


def check(surrogate: Surrogate, options: Training) -> None:
    """Raises UserError where the method has no use: no residuals, too many weights, or float32."""
    count = sum(weight.numel() for weight in surrogate.parameters())
    wanted = "training.finish.method=levenberg_marquardt"
    if not isinstance(surrogate, LeastSquares):
        name = type(surrogate).__name__
        raise UserError(f"{wanted} needs residuals to square, and {name} has none: take lbfgs")
    reason = surrogate.no_jacobian()
    if reason is not None:
        raise UserError(f"{wanted} has no derivatives of the residuals, as {reason}: take lbfgs")
    if count > MOST_WEIGHTS:
        raise UserError(
            f"{wanted} solves for all weights at once, at most {MOST_WEIGHTS}; these are {count}: make the "
            "surrogate smaller, or take lbfgs"
        )
    if options.precision != "float64":
        raise UserError(f"{wanted} squares round-off: set training.precision=float64")


def levenberg_marquardt(
    model: Model, parts: Iterable[Batch], state: State, options: Training, ranks: Ranks
) -> tuple[float, float]:
    """`training.finish.iterations` trials on one batch; the loss before them, and its gradient's norm.

        (JᵀJ + λ max diag(JᵀJ) I) δ = -Jᵀ r

    with the residuals r of all ranks and their derivatives J by the weights. A trial that lowers the loss
    is taken and lowers λ by how well the linear model foresaw the loss; any other one raises λ. `state`
    carries λ from step to step.

    Source: Marquardt 1963 (doi:10.1137/0111030), with Levenberg's damping; λ by Nielsen 1999, "Damping
    parameter in Marquardt's method", eq. 2.21.
    """
    surrogate = state.surrogate
    assert isinstance(surrogate, LeastSquares)
    points = [surrogate.points(batch) for batch in parts]
    weights = parameters_to_vector(surrogate.parameters()).detach()
    found = _normal_equations(surrogate, points, ranks)
    loss, norm = found.loss, 2 * found.gradient.norm().item()
    is_old, growth = False, 2.0
    for _ in range(options.finish.iterations if math.isfinite(norm) else 0):
        if state.damping > _MOST_DAMPING:
            break
        if is_old:
            found, is_old = _normal_equations(surrogate, points, ranks), False
        change, foreseen = _solution(found, state.damping, ranks)
        vector_to_parameters(weights + change, surrogate.parameters())
        reached = _loss(surrogate, points, ranks)
        gain = (found.loss - reached) / foreseen if foreseen > 0 else -1.0
        if reached < found.loss and gain > 0:
            weights, is_old, growth = weights + change, True, 2.0
            state.damping *= max(1 / 3, 1 - (2 * gain - 1) ** 3)
        else:
            state.damping *= growth
            growth *= 2
    vector_to_parameters(weights, surrogate.parameters())
    state.damping = min(state.damping, _MOST_DAMPING)
    count_step(state, norm)
    return loss, norm


@dataclass(frozen=True)
class _NormalEquations:
    """The `matrix` JᵀJ (P, P), the `gradient` Jᵀr (P,) and the `loss` r², each a mean over the residuals."""

    matrix: torch.Tensor
    gradient: torch.Tensor
    loss: float


class _Residuals(nn.Module):
    """The residuals of a surrogate as its forward."""

    def __init__(self, surrogate: LeastSquares):
        super().__init__()
        self.surrogate = surrogate

    def forward(self, points: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return self.surrogate.residuals(points)


def _normal_equations(
    surrogate: LeastSquares, points: list[Mapping[str, torch.Tensor]], ranks: Ranks
) -> _NormalEquations:
    """Those of the rows of all ranks."""
    module = _Residuals(surrogate)
    weights = {name: weight.detach() for name, weight in module.named_parameters()}
    size = sum(weight.numel() for weight in weights.values())
    # JᵀJ, Jᵀr and r² in one message: the residuals are one more column.
    total = next(iter(weights.values())).new_zeros(size + 1, size + 1)
    count = 0

    def of_row(weights: dict[str, torch.Tensor], row: Mapping[str, torch.Tensor]) -> torch.Tensor:
        alone = {name: value[None] for name, value in row.items()}
        return cast(torch.Tensor, functional_call(module, weights, (alone,)))[0]

    for part in points:
        for rows in _chunks(part, size):
            residuals = functional_call(module, weights, (rows,))
            slopes = vmap(jacrev(of_row), in_dims=(None, 0))(weights, rows)
            columns = [slope.reshape(residuals.numel(), -1) for slope in slopes.values()]
            jacobian = torch.cat([*columns, residuals.reshape(-1, 1)], dim=1)
            total += _gram(jacobian)
            count += len(jacobian)
    total = ranks.sum(total) / (count * ranks.size)
    return _NormalEquations(total[:-1, :-1], total[-1, :-1], float(total[-1, -1]))


def _gram(rows: torch.Tensor) -> torch.Tensor:
    """rowsᵀ rows. NumPy sees that it is symmetric and computes half of it, in half of PyTorch's time."""
    if rows.device.type != "cpu":
        return rows.T @ rows
    values = rows.numpy()
    return torch.from_numpy(values.T @ values)


def _chunks(points: Mapping[str, torch.Tensor], num_weights: int) -> Iterator[dict[str, torch.Tensor]]:
    """Rows whose derivatives take little memory, one lot after the other."""
    at_once = max(1, _ROOM_FOR_ROWS // (8 * num_weights))
    split = {name: torch.split(values, at_once) for name, values in points.items()}
    return (dict(zip(split, lot, strict=True)) for lot in zip(*split.values(), strict=True))


def _solution(found: _NormalEquations, damping: float, ranks: Ranks) -> tuple[torch.Tensor, float]:
    """The change of the weights (P,), rank 0's, whatever the others' processors make of it; and by how much
    the linear model says that the loss falls with it.
    """
    damped = found.matrix.clone()
    added = damping * damped.diagonal().max()
    damped.diagonal().add_(added)
    factor, failed = torch.linalg.cholesky_ex(damped)
    change = -torch.cholesky_solve(found.gradient[:, None], factor)[:, 0]
    # Where rounding leaves no positive matrix, no change: the trial fails and damping rises.
    change = torch.zeros_like(change) if failed.item() else change
    change = ranks.sum(change if ranks.is_first else torch.zeros_like(change))
    # -2 g·δ - δᵀJᵀJδ, by the equations that δ solves.
    return change, float(added * (change @ change) - found.gradient @ change)


def _loss(surrogate: LeastSquares, points: list[Mapping[str, torch.Tensor]], ranks: Ranks) -> float:
    """The mean square of the residuals of all ranks; infinite where it is no number."""
    with torch.no_grad():
        means = [surrogate.residuals(part).square().mean().item() for part in points]
    loss = sum(ranks.gather(sum(means) / len(means))) / ranks.size
    return loss if math.isfinite(loss) else math.inf
