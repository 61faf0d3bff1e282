"""The deep operator network: from a state to that at any later time, in one query."""

from __future__ import annotations

import torch

from surrogates.contract import Batch
from surrogates.operator_network import OperatorNetwork


class DeepONet(OperatorNetwork):
    """A branch of Fourier layers and a trunk of modes in space and a perceptron in time (`OperatorNetwork`).

    Options:
        width: channels of the branch's hidden field, and width of the trunk's perceptron.
        modes: modes an axis, the constant one included, that branch and trunk keep; or one number an axis.
        layers: Fourier layers of the branch.
        functions: functions of time in the trunk.
        horizon_steps: time steps that one query covers; the windows of the training have this length.
        constraints: what holds exactly, see `Constraints`.

    Raises:
        UserError: an option below 1; more modes than the grid resolves, or a list of them that does not fit
            the axes; windows of another length; a constraint of no use.

    Source: Lu et al. 2021 (doi:10.1038/s42256-021-00302-5); for a branch on a grid and fixed modes in the
    trunk, Lu et al. 2022, "A comprehensive and fair comparison of two neural operators" (arXiv 2111.05512).
    """

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The loss `data` of a batch of windows: all frames after the first, asked of the first."""
        start_BXC, coefficients_BFM = self._start(batch)
        return {"data": self._data_loss(batch, start_BXC, coefficients_BFM)}
