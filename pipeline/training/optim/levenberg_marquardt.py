"""Steps of the Levenberg-Marquardt method, for small networks whose loss is a mean of squares.

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
from pipeline.training.step import Model
from pipeline.training.train_state import TrainState
from simsurrogate.errors import UserError
from surrogates.contract import Batch, Surrogate
from surrogates.physics.least_squares import LeastSquares

#: The largest number of weights, whose normal equations take 128 MiB and one second to solve.
MAX_WEIGHTS = 4096
_MAX_DAMPING = 1e12
#: Bytes of the Jacobian that are in memory at a time.
_JACOBIAN_BYTES = 64 * 2**20


def check(surrogate: Surrogate, options: Training) -> None:
    """Check that the method can train the surrogate.

    Raises:
        UserError: the surrogate has no residuals or too many weights, or the precision is not float64.
    """
    method = "training.finish.method=levenberg_marquardt"
    name = type(surrogate).__name__
    advice = "Set training.finish.method=lbfgs"
    if not isinstance(surrogate, LeastSquares):
        raise UserError(
            f"{method} needs residuals to square, and {name} has none. The method trains physics-informed "
            f"surrogates. {advice}"
        )
    reason = surrogate.no_jacobian()
    if reason is not None:
        raise UserError(
            f"{method} cannot differentiate the residuals of {name}: {reason}. The method needs the "
            f"derivatives of the residuals by the weights. {advice}"
        )
    num_weights = sum(weight.numel() for weight in surrogate.parameters())
    if num_weights > MAX_WEIGHTS:
        raise UserError(
            f"{method} solves for all weights at once, and {name} has {num_weights}. At most {MAX_WEIGHTS} "
            f"weights are allowed. Make the surrogate smaller, or set training.finish.method=lbfgs"
        )
    if options.precision != "float64":
        raise UserError(
            f"{method} squares round-off errors, which are too large with training.precision="
            f"{options.precision}. Only float64 is allowed. Set training.precision=float64"
        )


def levenberg_marquardt(
    model: Model, micro_batches: Iterable[Batch], state: TrainState, options: Training, ranks: Ranks
) -> tuple[float, float]:
    """Make at most `training.finish.iterations` trials of the Levenberg-Marquardt method on one batch:

        (JᵀJ + λ max diag(JᵀJ) I) δ = -Jᵀ r

    with the residuals r of all ranks and their derivatives J by the weights. A trial that lowers the loss is
    accepted, and λ falls more after a better prediction of the linear model. Any other trial is rejected and
    raises λ. `state` carries λ from step to step.

    Returns:
        The loss before the trials, and the norm of its gradient.

    Source: Marquardt 1963 (doi:10.1137/0111030), with Levenberg's damping; λ by Nielsen 1999, "Damping
    parameter in Marquardt's method", eq. 2.21.
    """
    surrogate = state.surrogate
    assert isinstance(surrogate, LeastSquares)
    points = [surrogate.points(batch) for batch in micro_batches]
    weights = parameters_to_vector(surrogate.parameters()).detach()
    equations = _normal_equations(surrogate, points, ranks)
    loss, norm = equations.loss, 2 * equations.gradient.norm().item()
    is_outdated, growth = False, 2.0
    for _ in range(options.finish.iterations if math.isfinite(norm) else 0):
        if state.damping > _MAX_DAMPING:
            break
        if is_outdated:
            equations, is_outdated = _normal_equations(surrogate, points, ranks), False
        change, predicted_decrease = _solution(equations, state.damping, ranks)
        vector_to_parameters(weights + change, surrogate.parameters())
        trial_loss = _loss(surrogate, points, ranks)
        gain = (equations.loss - trial_loss) / predicted_decrease if predicted_decrease > 0 else -1.0
        if trial_loss < equations.loss and gain > 0:
            weights, is_outdated, growth = weights + change, True, 2.0
            state.damping *= max(1 / 3, 1 - (2 * gain - 1) ** 3)
        else:
            state.damping *= growth
            growth *= 2
    vector_to_parameters(weights, surrogate.parameters())
    state.damping = min(state.damping, _MAX_DAMPING)
    state.count_step(norm)
    return loss, norm


@dataclass(frozen=True)
class _NormalEquations:
    """The matrix JᵀJ (P, P), the gradient Jᵀr (P,) and the loss r², each a mean over the residuals."""

    matrix: torch.Tensor
    gradient: torch.Tensor
    loss: float


class _Residuals(nn.Module):
    """A module whose forward computes the residuals of a surrogate."""

    def __init__(self, surrogate: LeastSquares):
        super().__init__()
        self.surrogate = surrogate

    def forward(self, points: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return self.surrogate.residuals(points)


def _normal_equations(
    surrogate: LeastSquares, points: list[Mapping[str, torch.Tensor]], ranks: Ranks
) -> _NormalEquations:
    """Return the normal equations of the residuals of all ranks."""
    module = _Residuals(surrogate)
    weights = {name: weight.detach() for name, weight in module.named_parameters()}
    num_weights = sum(weight.numel() for weight in weights.values())
    # The residuals are an additional column of J, so that one message holds JᵀJ, Jᵀr and r².
    gram_matrix = next(iter(weights.values())).new_zeros(num_weights + 1, num_weights + 1)
    num_residuals = 0

    def row_residuals(weights: dict[str, torch.Tensor], row: Mapping[str, torch.Tensor]) -> torch.Tensor:
        batch_of_one = {name: value[None] for name, value in row.items()}
        return cast(torch.Tensor, functional_call(module, weights, (batch_of_one,)))[0]

    for batch_points in points:
        for rows in _chunks(batch_points, num_weights):
            residuals = functional_call(module, weights, (rows,))
            derivatives = vmap(jacrev(row_residuals), in_dims=(None, 0))(weights, rows)
            columns = [derivative.reshape(residuals.numel(), -1) for derivative in derivatives.values()]
            jacobian = torch.cat([*columns, residuals.reshape(-1, 1)], dim=1)
            gram_matrix += _gram(jacobian)
            num_residuals += len(jacobian)
    gram_matrix = ranks.sum(gram_matrix) / (num_residuals * ranks.size)
    return _NormalEquations(gram_matrix[:-1, :-1], gram_matrix[-1, :-1], float(gram_matrix[-1, -1]))


def _gram(rows: torch.Tensor) -> torch.Tensor:
    """Return rowsᵀ rows. NumPy computes half of the symmetric product, in half of PyTorch's time."""
    if rows.device.type != "cpu":
        return rows.T @ rows
    values = rows.numpy()
    return torch.from_numpy(values.T @ values)


def _chunks(points: Mapping[str, torch.Tensor], num_weights: int) -> Iterator[dict[str, torch.Tensor]]:
    """Yield groups of rows whose derivatives fit into `_JACOBIAN_BYTES`."""
    num_rows = max(1, _JACOBIAN_BYTES // (8 * num_weights))
    chunks = {name: torch.split(values, num_rows) for name, values in points.items()}
    return (dict(zip(chunks, chunk, strict=True)) for chunk in zip(*chunks.values(), strict=True))


def _solution(equations: _NormalEquations, damping: float, ranks: Ranks) -> tuple[torch.Tensor, float]:
    """Return the change of the weights (P,), and the decrease of the loss that the linear model predicts.

    Every rank gets the change that rank 0 computes, even if their processors round differently.
    """
    damped_matrix = equations.matrix.clone()
    damping_term = damping * damped_matrix.diagonal().max()
    damped_matrix.diagonal().add_(damping_term)
    cholesky_factor, failure = torch.linalg.cholesky_ex(damped_matrix)
    change = -torch.cholesky_solve(equations.gradient[:, None], cholesky_factor)[:, 0]
    # If round-off makes the matrix indefinite, the change is 0: the trial fails and the damping rises.
    change = torch.zeros_like(change) if failure.item() else change
    change = ranks.sum(change if ranks.is_first else torch.zeros_like(change))
    # Equal to -2 g·δ - δᵀJᵀJδ, because δ solves the damped equations.
    return change, float(damping_term * (change @ change) - equations.gradient @ change)


def _loss(surrogate: LeastSquares, points: list[Mapping[str, torch.Tensor]], ranks: Ranks) -> float:
    """Return the mean square of the residuals of all ranks, or infinity if it is not finite."""
    with torch.no_grad():
        means = [surrogate.residuals(batch_points).square().mean().item() for batch_points in points]
    loss = sum(ranks.gather(sum(means) / len(means))) / ranks.size
    return loss if math.isfinite(loss) else math.inf
