"""A perceptron from the scalar parameters to the quantities of interest, with a standard deviation.

Shape letters: B batch, T times, Q quantities, P scalar parameters.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from surrogates.arguments import (
    as_times,
    check_minimum,
    increasing_times,
    initial_states,
    nonzero_std,
    parameter_tensors,
    set_constants,
)
from surrogates.arrays import as_tensor
from surrogates.contract import Array, Batch, ParameterValues, Prediction, Problem, Surrogate
from surrogates.networks.affine_perceptron import AffinePerceptron

#: The smallest standard deviation, in standard deviations of the quantity over the training split.
_LEAST_DEVIATION = 1e-4
#: The share of the trajectories that train the standard deviation, chosen by their parameters.
_WITHHELD_SHARE = 0.2


class Scalars(Surrogate):
    """A prediction of the quantities of interest q(p, t) with their standard deviations s(p, t).

        q_i = m_i + σ_i N_i(p, t),    s_i = σ_i (10⁻⁴ + exp M_i(p, t))

    N and M are perceptrons of the scalar parameters p and the time t since the start of the trajectory. m and
    σ are the mean and the standard deviation of each quantity over the training split.

    Losses:
        data: the mean square error of q in units of σ, on four fifths of the trajectories.
        deviation: the negative logarithm of the normal density of the errors of q in units of σ, plus a
            constant that makes it positive, on the other fifth. N has not seen these trajectories, so their
            errors are those of new parameters. The gradient of this loss does not reach N.

    The parameters of a trajectory determine whether it is withheld. A prediction has the mean q and, unlike
    other surrogates, its standard deviation s without an ensemble.

    Options:
        width: the width of the hidden layers.
        layers: the number of hidden layers.

    Raises:
        UserError: the fields are no quantities of interest, or scalar parameters do not determine the
            trajectories; an option is below 1.

    Source: Nix & Weigend 1994, "Estimating the mean and variance of the target probability distribution"
    (doi:10.1109/ICNN.1994.374138).
    """

    learns_quantities = True
    rows_are_times = True

    state_mean: torch.Tensor
    state_std: torch.Tensor
    scale: torch.Tensor
    parameter_mean: torch.Tensor
    parameter_std: torch.Tensor
    withholding: torch.Tensor

    def __init__(self, problem: Problem, *, width: int, layers: int):
        super().__init__(problem)
        check_minimum(1, width=width, layers=layers)
        self.losses = ("data", "deviation")
        self.uses_initial_state, self.uses_time = False, True
        statistics, num_parameters = problem.statistics, len(problem.spec.parameters)
        set_constants(
            self,
            state_mean=np.array(statistics.mean),
            state_std=nonzero_std(statistics.std),
            # A quantity without variation in the training split is predicted as this constant.
            scale=np.array(statistics.std),
            parameter_mean=np.array(statistics.parameter_mean),
            parameter_std=nonzero_std(statistics.parameter_std),
            withholding=100 * np.sqrt(2 + np.arange(num_parameters)),
        )
        num_quantities = len(problem.spec.channels)
        self.mean, self.deviation = (
            AffinePerceptron(num_parameters, (), num_quantities, width=width, layers=layers) for _ in range(2)
        )

    @classmethod
    def _incompatibility(cls, problem: Problem) -> str | None:
        """Return why there are no quantities of interest to learn, or None, see `Surrogate`."""
        if problem.spec.axis_names != ("quantity",):
            return "it learns the quantities of interest of a data set, and these are fields or particles"
        if not problem.spec.parametric:
            return (
                "it needs quantities that are functions of the scalar parameters, but these data have random "
                "initial fields or coefficient fields"
            )
        return None

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the losses `data` and `deviation` of the frames after the first, see the class."""
        normalised_BTQ = (batch["state"][:, 1:].flatten(2) - self.state_mean) / self.state_std
        mean_BTQ, deviation_BTQ = self._distribution(batch["parameters"], batch["time"][:, 1:])
        is_withheld_B11 = self._is_withheld(batch["parameters"])[:, None, None]
        error_BTQ = mean_BTQ - normalised_BTQ
        likelihood_BTQ = (
            torch.log(deviation_BTQ / _LEAST_DEVIATION) + (error_BTQ.detach() / deviation_BTQ).square() / 2
        )
        return {
            "data": torch.where(is_withheld_B11, 0.0, error_BTQ.square()).mean(),
            "deviation": torch.where(is_withheld_B11, likelihood_BTQ, 0.0).mean(),
        }

    @torch.no_grad()
    def predict_quantities(
        self, parameters: ParameterValues, times: Array
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the quantities and their standard deviations (B, T, Q) at `times` (T,), s.

        The times count from the start of the trajectory. `parameters` maps each scalar parameter to (B,) or a
        number. Unlike `predict`, no value at the first time is needed.

        Raises:
            UserError: an argument does not fit.
        """
        names = self.problem.spec.parameter_names
        sizes = [as_tensor(values).numel() for name, values in parameters.items() if name in names]
        _, scalars_BP = parameter_tensors(self.problem, parameters, max(sizes, default=1), self.state_mean)
        time_T = torch.from_numpy(as_times(times)).to(self.state_mean)
        mean_BTQ, deviation_BTQ = self._distribution(scalars_BP, time_T.expand(len(scalars_BP), -1))
        return self.state_mean + self.scale * mean_BTQ, self.scale * deviation_BTQ

    def _predict(self, initial_state: Array, parameters: ParameterValues, times: Array) -> Prediction:
        """Return the quantities (B, T, Q, 1) at increasing `times`, with their standard deviations."""
        state_BQX = initial_states(self.problem, initial_state, self.state_mean)
        _, scalars_BP = parameter_tensors(self.problem, parameters, len(state_BQX), self.state_mean)
        later_times = torch.from_numpy(increasing_times(times)[1:]).to(self.state_mean)
        # See `POD._predict`: the prediction at a time does not depend on the other times.
        time = nn.functional.pad(later_times, (0, -len(later_times) % 4)).expand(len(state_BQX), -1)
        mean_BTQ, deviation_BTQ = (
            values[:, : len(later_times)] for values in self._distribution(scalars_BP, time)
        )
        later_BTQX = (self.state_mean + self.scale * mean_BTQ)[..., None]
        deviation_BTQX = (self.scale * deviation_BTQ)[..., None].double()
        return Prediction(
            torch.cat([state_BQX[:, None], later_BTQX], dim=1),
            torch.cat([torch.zeros_like(state_BQX[:, None], dtype=torch.float64), deviation_BTQX], dim=1),
        )

    def _distribution(
        self, parameters_BP: torch.Tensor, time_BT: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the normalised mean and the standard deviation of each quantity, (B, T, Q) each."""
        normalised_BP = (parameters_BP - self.parameter_mean) / self.parameter_std
        fraction_BT = time_BT / (self.problem.duration / 2) - 1
        mean_BTQ: torch.Tensor = self.mean(normalised_BP, fraction_BT)
        return mean_BTQ, _LEAST_DEVIATION + torch.exp(self.deviation(normalised_BP, fraction_BT))

    def _is_withheld(self, parameters_BP: torch.Tensor) -> torch.Tensor:
        """Return which trajectories train the standard deviation, (B,)."""
        normalised_BP = (parameters_BP - self.parameter_mean) / self.parameter_std
        return (normalised_BP @ self.withholding).remainder(1) < _WITHHELD_SHARE
