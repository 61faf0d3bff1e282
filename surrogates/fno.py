"""The Fourier neural operator: a map over one time step or to all frames, on 1-D, 2-D and 3-D grids.

Shape letters: B batch, I inputs, S static inputs, C channels, O outputs, Q conditions; X stands for all
sites.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from surrogates.arguments import check_minimum, modes_of_axes
from surrogates.autoregressive import AutoregressiveSurrogate, Predicts
from surrogates.contract import Problem
from surrogates.grids.constraints import Constraint
from surrogates.networks.fourier_layers import FourierNetwork, Prepared


class FNO(AutoregressiveSurrogate):
    """The change over one time step, or to all frames, as a network of Fourier layers (`FourierNetwork`).

    Options:
        width: channels of the hidden field.
        modes: retained Fourier modes, the constant mode included; a number, or one per axis.
        layers: Fourier layers.
        constraints: constraints that hold exactly, see `Constraints`.
        predicts: `next_frame`, or `all_frames` in one pass, see `AutoregressiveSurrogate`.

    Raises:
        UserError: an option below 1; more modes than the grid resolves; a list of modes that does not fit the
            axes; a constraint that cannot hold.

    Source: Li et al. 2021, "Fourier Neural Operator for Parametric PDEs" (arXiv 2010.08895).
    """

    any_grid = True

    def __init__(
        self,
        problem: Problem,
        *,
        width: int,
        modes: int | Sequence[int],
        layers: int,
        constraints: Sequence[Constraint] = (),
        predicts: Predicts = "next_frame",
    ):
        super().__init__(problem, constraints, predicts)
        self.hidden_width = width
        counts = modes_of_axes(problem, modes)
        check_minimum(1, width=width, layers=layers)
        self.network = FourierNetwork(
            problem,
            num_fields=self.inputs.num_fields,
            num_conditions=self.inputs.num_conditions,
            num_out=self.num_frames * len(problem.spec.channels),
            width=width,
            modes=counts,
            layers=layers,
        )

    def increment(self, inputs_BXI: torch.Tensor, conditions_BQ: torch.Tensor) -> torch.Tensor:
        """Return the normalised changes of the frames of a pass, (B, *sites, O)."""
        changes_BXO: torch.Tensor = self.network(inputs_BXI, conditions_BQ)
        return changes_BXO

    def prepare(self, static_BXS: torch.Tensor, conditions_BQ: torch.Tensor) -> Any:
        """Return what does not change in a rollout, see `AutoregressiveSurrogate.prepare`."""
        if torch.is_grad_enabled():
            return super().prepare(static_BXS, conditions_BQ)
        return self.network.prepare(static_BXS, conditions_BQ)

    def prepared_increment(self, state_BXC: torch.Tensor, prepared: Any) -> torch.Tensor:
        """Return the normalised changes as `increment`."""
        if isinstance(prepared, Prepared):
            return self.network.predict(state_BXC, prepared)
        return super().prepared_increment(state_BXC, prepared)
