"""The deep operator network: the state at any later time in one query.

Shape letters: B batch, C channels, F branch channels; M stands for the modes of all axes, X for all sites.
"""

from __future__ import annotations

import torch

from surrogates.contract import Batch
from surrogates.operator_network import OperatorNetwork


class DeepONet(OperatorNetwork):
    """A branch of Fourier layers, and a trunk of modes in space and a perceptron in time (`OperatorNetwork`).

    Options:
        width: channels of the branch's hidden field, and width of the trunk's perceptron.
        modes: modes per axis of branch and trunk, the constant mode included; a number, or one per axis.
        layers: Fourier layers of the branch.
        functions: functions of time in the trunk.
        horizon_steps: time steps that one query predicts ahead; training windows have the same length.
        constraints: constraints that hold exactly, see `Constraints`.

    Raises:
        UserError: an option below 1; more modes than the grid resolves; a list of modes that does not fit the
            axes; windows of another length than the horizon; a constraint that cannot hold.

    Source: Lu et al. 2021 (doi:10.1038/s42256-021-00302-5). For a branch on a grid and fixed modes in the
    trunk: Lu et al. 2022, "A comprehensive and fair comparison of two neural operators" (arXiv 2111.05512).
    """

    weighted = True

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the loss `data` of a batch of windows: all later frames, predicted from the first."""
        start_BXC, coefficients_BFM = self._start_and_coefficients(batch)
        return {"data": self._data_loss(batch, start_BXC, coefficients_BFM)}
