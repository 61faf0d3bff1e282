"""A physics-informed network, trained on the equation; data are optional.

Shape letters: B batch, M points, D their coordinates, U random numbers, E equations, R residuals of a point,
C channels, P scalar parameters. N stands for the bodies of particles, X for all sites.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch

from simsurrogate.errors import UserError
from surrogates.arguments import (
    check_maximum,
    check_minimum,
    increasing_times,
    initial_states,
    parameter_tensors,
)
from surrogates.contract import Array, Batch, ParameterValues, Prediction, Problem, Surrogate
from surrogates.grids.constraints import Constraint, Constraints
from surrogates.physics.boundary_support import boundary_incompatibility
from surrogates.physics.collocation import QuasiRandomPoints, causal_weights, resample_by_residual
from surrogates.physics.data_points import DataPoints, site_coordinates
from surrogates.physics.initial_condition import initial_condition_incompatibility
from surrogates.physics.mean_drift import MeanDrift
from surrogates.physics.pinn_ansatz import PinnAnsatz
from surrogates.physics.pinn_residual import PinnResidual

#: The largest number of collocation points of a window. Each point takes about 40 us at the start.
_MAX_POINTS = 2**17


class PINN(Surrogate):
    """A network that satisfies initial and boundary conditions exactly and learns from the equation.

        u(x, t; p) = u₀(x; p) + σ t/(t + τ) b(x) N(x, t, p)

    N is a perceptron of the position, the time and the scalar parameters. The factor σ is the standard
    deviation of each channel, and τ is the time in which the fastest channel changes by its standard
    deviation. The initial state u₀ is that of the solver at any point, so the initial condition is exact. The
    boundary conditions are also exact: b vanishes at dirichlet walls, and the features of N are periodic or
    have a vanishing normal derivative at neumann walls (see `PinnAnsatz`). For particles, N has no position x
    and returns the positions and velocities of all bodies.

    Losses:
        residual_NAME: for each equation the mean square of the solver's `residual` in units of its usual size
            (see `Equation`), divided by the number of equations. The points are random in the box, the
            duration and the ranges of the parameters.
        mean: the mean square of the `MeanDrift`, where the problem declares the mean velocity of a periodic
            box conserved. The equations of divergence and curl do not determine this mean.
        data: `data_weight` times the mean square of the error of the change since the first frame of a
            window, over σ, at a random site and frame for each point. `data_weight=0` excludes the data.

    Over a long duration, networks find states with small residuals almost everywhere that approximate no
    solution. With `causality`, a residual has a large weight only after the earlier residuals of its
    window have become small (see `causal_weights`).

    `predict` starts from the initial state at the first time, and adds the change of σ t/(t + τ) b N since
    then.

    Options:
        width: the width of the hidden layers.
        layers: the number of hidden layers.
        waves: the Fourier features along a periodic axis, and the cosines between neumann walls.
        points: the collocation points of each window of a batch.
        candidates: the number of candidates for each collocation point. With more than one, points are
            chosen by their residuals (see `resample_by_residual`).
        causality: 0 weights all points equally; 1000 waits for residuals of 3 % of their usual size.
        data_weight: the weight of the loss `data`.
        constraints: the constraints that predictions on the grid satisfy exactly, see `Constraints`. Training
            uses single points and no constraints. The constraint `boundary` is built in.

    Raises:
        UserError: the scalar parameters do not determine the trajectories; bodies start too close together;
            neumann walls have a flux, or dirichlet walls with different values meet; an option is out of
            range.

    Source: Raissi, Perdikaris & Karniadakis 2019 (doi:10.1016/j.jcp.2018.10.045). Exact conditions: Lagaris,
    Likas & Fotiadis 1998 (doi:10.1109/72.712178).
    """

    kernel = "_evaluate"
    physics_informed: ClassVar[bool] = True

    sites: torch.Tensor

    def __init__(
        self,
        problem: Problem,
        *,
        width: int,
        layers: int,
        waves: int,
        points: int,
        candidates: int,
        causality: float,
        data_weight: float,
        constraints: Sequence[Constraint] = (),
    ):
        super().__init__(problem)
        check_minimum(1, width=width, layers=layers, waves=waves, points=points, candidates=candidates)
        check_minimum(0, causality=causality, data_weight=data_weight)
        check_maximum(
            _MAX_POINTS,
            points * candidates,
            "collocation points of a window",
            f"surrogate.points={points} with surrogate.candidates={candidates}",
        )
        self.constraints = Constraints(problem, constraints, built_in=("boundary",))
        self.uses_initial_state, self.uses_time = False, True
        self.num_points, self.num_candidates = points, candidates
        self.causality, self.data_weight = causality, data_weight
        self.ansatz = PinnAnsatz(problem, width=width, layers=layers, waves=waves)
        self.register_buffer("sites", site_coordinates(problem), persistent=False)
        self.mean_drift = MeanDrift(problem, waves)
        axes = () if problem.spec.has_particles else problem.spec.axes
        box = [(axis.lower, axis.lower + axis.extent) for axis in axes]
        box += [(0.0, problem.duration), *problem.spec.parameter_ranges]
        self.num_random = len(box) + 1 + (DataPoints.num_random if data_weight else 0)
        # A loaded model predicts without an equation, and needs neither collocation points nor DeepXDE.
        self._residual: PinnResidual | None = None
        self.losses = ()
        if problem.residual is not None:
            self._residual = PinnResidual(problem, self.ansatz)
            self.collocation_points = QuasiRandomPoints(box, points * candidates)
            self.data_points = DataPoints(problem, points) if data_weight else None
            self.losses = (
                *(f"residual_{name}" for name in self._residual.equation.names),
                *(["mean"] if self.mean_drift.channels else []),
                *(["data"] if data_weight else []),
            )

    @classmethod
    def _incompatibility(cls, problem: Problem) -> str | None:
        """Return why the network cannot learn the problem, or None, see `Surrogate`."""
        if not problem.spec.parametric:
            return (
                "it needs initial fields that are functions of the scalar parameters, but these data have "
                "random initial fields or coefficient fields"
            )
        if not problem.spec.smooth_coefficients:
            return "the conductivity or the source jumps, and the equation has no residual at a jump"
        return boundary_incompatibility(problem) or initial_condition_incompatibility(problem)

    @property
    def residual(self) -> PinnResidual:
        """The residual of the network.

        Raises:
            UserError: the model was loaded and has no equation.
        """
        if self._residual is None:
            raise UserError(
                "This model was loaded from a folder and has no equation to be trained on. Only the train "
                "stage provides the equation. Type python -m pipeline.train surrogate=pinn."
            )
        return self._residual

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the losses `residual_NAME`, and `mean` and `data` where they apply, see the class."""
        residuals_by_loss = self._residuals_by_loss(self.points(batch))
        return {name: residuals_MR.square().mean() for name, residuals_MR in residuals_by_loss.items()}

    # Derivatives of the initial state are computed by reverse mode, which torch.compile cannot trace.
    @torch.compiler.disable
    def points(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the points of a batch, see `LeastSquares.points`.

        A row is a collocation point and, with data, a site and a frame.
        """
        random_BU = batch["random"]
        num_columns = len(self.ansatz.columns)
        points_BMD = self.collocation_points(random_BU[:, :num_columns])
        if self.num_candidates > 1:
            candidate_points = self.residual.prepare(points_BMD.flatten(0, 1))
            square_BM = self.residual.mean_squares(candidate_points, len(random_BU))
            points_BMD = resample_by_residual(
                points_BMD, square_BM.sqrt(), random_BU[:, num_columns], self.num_points
            )
        points = self.residual.prepare(points_BMD.flatten(0, 1))
        if self.causality:
            time_BM = points_BMD[..., self.ansatz.columns.index("t")]
            square_BM = self.residual.mean_squares(points, len(random_BU))
            points["weight"] = causal_weights(time_BM, square_BM, self.causality).flatten()
        if self.data_points is not None:
            points |= self.data_points(batch, random_BU[:, num_columns + 1 :])
        return points

    def residuals(self, points: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the residuals of all losses, (M, R), see `LeastSquares.residuals`."""
        residuals = list(self._residuals_by_loss(points).values())
        num_columns = sum(residuals_MR.shape[1] for residuals_MR in residuals)
        # With these factors the mean square over all columns is the sum of the losses.
        scaled_residuals = [
            (num_columns / residuals_MR.shape[1]) ** 0.5 * residuals_MR for residuals_MR in residuals
        ]
        return torch.cat(scaled_residuals, dim=1)

    def no_jacobian(self) -> str | None:
        """Return why the residuals have no Jacobian row by row, or None, see `LeastSquares.no_jacobian`."""
        if self._residual is None or self._residual.equation.orders is not None:
            return None
        names = ", ".join(self._residual.equation.names)
        return f"the equations {names} use mixed derivatives or derivatives above the second"

    def _residuals_by_loss(self, points: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the residuals (M, R) of each loss, which is their mean square."""
        names = self.residual.equation.names
        residual = self.residual(points) / len(names) ** 0.5
        if self.causality:
            residual = points["weight"].sqrt().view(-1, *[1] * (residual.ndim - 1)) * residual
        residuals = {
            f"residual_{name}": column.reshape(len(column), -1)
            for name, column in zip(names, residual.unbind(-1), strict=True)
        }
        if self.mean_drift.channels:
            residuals["mean"] = self.mean_drift(self.ansatz, points["inputs"])
        if self.data_weight:
            residuals["data"] = self.data_weight**0.5 * self._data_residual(points).flatten(1)
        return residuals

    def _data_residual(self, points: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the error of the predicted change at the data points, in standard deviations, (M, C, *N)."""
        change: torch.Tensor = self.ansatz(points["later"]) - self.ansatz(points["first"])
        return (change - points["change"]) / self.ansatz.scale

    def _predict(self, initial_state: Array, parameters: ParameterValues, times: Array) -> Prediction:
        """Return the states at increasing `times`, each by one evaluation of the network."""
        state = initial_states(self.problem, initial_state, self.sites)
        time = increasing_times(times)
        _, scalars_BP = parameter_tensors(self.problem, parameters, len(state), self.sites)
        first_change = self._change_at_sites(time[0], scalars_BP)
        later_states = [
            state + (self._change_at_sites(instant, scalars_BP) - first_change) for instant in time[1:]
        ]
        constrained_states = [self._apply_constraints(later_state, state) for later_state in later_states]
        return Prediction(torch.stack([state, *constrained_states], dim=1))

    def _apply_constraints(self, state_BCX: torch.Tensor, start_BCX: torch.Tensor) -> torch.Tensor:
        """Return the states with the constraints applied.

        The constraints take normalised states. The mean of the data is not subtracted, because it cancels.
        """
        if not self.constraints.projections:
            return state_BCX
        scale = self.ansatz.scale.view(-1, *[1] * len(self.problem.spec.shape))
        state_BXC, start_BXC = ((states / scale).movedim(1, -1) for states in (state_BCX, start_BCX))
        constrained_BXC: torch.Tensor = self.constraints(state_BXC, start_BXC)
        return constrained_BXC.movedim(-1, 1) * scale

    def _change_at_sites(self, time: float, scalars_BP: torch.Tensor) -> torch.Tensor:
        """Return the change (B, C, *X) since time 0 at all sites."""
        batch_size, num_sites = len(scalars_BP), len(self.sites)
        times = self.sites.new_full((batch_size, num_sites, 1), time)
        scalars = scalars_BP[:, None].expand(-1, num_sites, -1)
        inputs_MD = torch.cat([self.sites.expand(batch_size, -1, -1), times, scalars], dim=-1).flatten(0, 1)
        change = self._evaluate(inputs_MD)
        if self.problem.spec.has_particles:
            return change
        return change.view(batch_size, *self.problem.spec.shape, -1).movedim(-1, 1)

    def _evaluate(self, inputs_MD: torch.Tensor) -> torch.Tensor:
        """Return the change (M, C) since time 0 at the inputs of the network."""
        change_MC: torch.Tensor = self.ansatz(inputs_MD)
        return change_MC
