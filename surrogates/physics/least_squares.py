"""The contract of surrogates that a Gauss-Newton method can train.

Shape letters: M points, E residuals of a point.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch

from surrogates.contract import Batch


@runtime_checkable
class LeastSquares(Protocol):
    """A surrogate with a mean of squares as its loss. A Gauss-Newton method can train it.

    The sum of the losses of `forward(batch)` is the mean of the squares of `residuals(points(batch))`.
    """

    def points(self, batch: Batch) -> Mapping[str, torch.Tensor]:
        """Return the inputs of the residuals, tensors (M, ...) that do not depend on the weights."""

    def residuals(self, points: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return residuals (M, E); row m depends only on row m of `points`.

        Unless `no_jacobian` gives a reason, all operations work under `torch.func.vmap` and `jacrev`.
        """

    def no_jacobian(self) -> str | None:
        """Return why the residuals have no derivative with respect to the weights row by row, or None."""
