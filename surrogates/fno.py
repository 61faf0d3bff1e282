"""The Fourier neural operator: a map over one time step, on 1-D, 2-D and 3-D grids.

Shape letters: B batch, I inputs, C channels, Q conditions; X stands for all sites.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from surrogates.arguments import check_minimum, modes_of_axes
from surrogates.autoregressive import AutoregressiveSurrogate
from surrogates.contract import Problem
from surrogates.grids.constraints import Constraint
from surrogates.networks.fourier_layers import FourierNetwork


class FNO(AutoregressiveSurrogate):
    """The change over one time step as a network of Fourier layers, see `FourierNetwork`.

    Options:
        width: channels of the hidden field.
        modes: retained Fourier modes, the constant mode included; a number, or one per axis.
        layers: Fourier layers.
        constraints: constraints that hold exactly, see `Constraints`.

    Raises:
        UserError: an option below 1; more modes than the grid resolves; a list of modes that does not fit the
            axes; a constraint that cannot hold.

    Source: Li et al. 2021, "Fourier Neural Operator for Parametric PDEs" (arXiv 2010.08895).
    """

    def __init__(
        self,
        problem: Problem,
        *,
        width: int,
        modes: int | Sequence[int],
        layers: int,
        constraints: Sequence[Constraint] = (),
    ):
        super().__init__(problem, constraints)
        counts = modes_of_axes(problem, modes)
        check_minimum(1, width=width, layers=layers)
        self.network = FourierNetwork(
            problem,
            num_fields=self.inputs.num_fields,
            num_conditions=self.inputs.num_conditions,
            num_out=len(problem.spec.channels),
            width=width,
            modes=counts,
            layers=layers,
        )

    def increment(self, inputs_BXI: torch.Tensor, conditions_BQ: torch.Tensor) -> torch.Tensor:
        """Return the normalised change over one time step, (B, *sites, C)."""
        change_BXC: torch.Tensor = self.network(inputs_BXI, conditions_BQ)
        return change_BXC
