"""A physics-informed network: the equation itself is the loss, and data are optional.

Shape letters: B batch, M points, D their coordinates, E equations, C channels; N stands for the bodies of
particles, X for all sites.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from simsurrogate.errors import UserError
from surrogates.arguments import increasing_times, initial_states, parameter_tensors
from surrogates.contract import Array, Batch, Prediction, Problem, Surrogate
from surrogates.grids.constraints import Constraint, Constraints
from surrogates.networks.taylor_mode import Jet, derivative, value
from surrogates.physics import deepxde_adapter
from surrogates.physics.boundary_support import unfit_walls
from surrogates.physics.collocation import EvenPoints, causal_weights, preferred
from surrogates.physics.data_points import Observations, site_coordinates
from surrogates.physics.initial_condition import initial_condition, start_derivatives, start_jets, unfit_start
from surrogates.physics.mean_drift import Drift
from surrogates.physics.pinn_ansatz import Change
from surrogates.physics.residual import Equation


class PINN(Surrogate):
    """u(x, t; p) = u₀(x; p) + σ t/(t + τ) b(x) N(x, t, p)

    N is a perceptron of the place, the time and the scalar parameters, σ the standard deviation of each
    channel, and τ the time in which the fastest one changes by as much. u₀ is the solver's own initial state
    at any point, so that the initial condition is exact. b vanishes at dirichlet walls, and N is periodic, or
    without slope at neumann walls, by what it is told (see `pinn_ansatz`): these conditions are exact
    too. Particles have no x; N gives the positions and velocities of all bodies.

    The losses `residual_NAME`, one an equation, are the mean squares of the solver's `residual` at random
    points of the box, of the duration and of the ranges of the parameters, in the units of
    `surrogates.physics.residual`, over the number of the equations. `data`, times
    `data_weight`, is that of the change since a window's first frame, over σ, at a random site and frame for
    each of these points; with weight 0 frames are never looked at. Divergence and curl leave the mean of a
    periodic velocity free, with which all would drift along: where the problem declares it conserved, `mean`
    is the mean square of its `Drift`.

    Over a long duration networks find residuals that are small almost everywhere and belong to no solution.
    With `causality` a point's residual counts as far as those before it, of the same window, are small, see
    `surrogates.physics.collocation`.

    `predict` starts from the state that it is given, at time t₁, and adds how much σ t/(t + τ) b N has grown
    since.

    Options:
        width: of the hidden layers.
        layers: their number.
        waves: Fourier features along a periodic axis, and cosines between neumann walls.
        points: at which the residual is taken, for each window of a batch.
        candidates: points of which one is chosen by its residual (see `collocation`); 1 takes all.
        causality: 0 weighs all points the same; 1000 waits for residuals of 3 % of their usual size.
        data_weight: of the loss `data`.
        constraints: what holds exactly on the grid, in predictions alone, as training looks at single points;
            see `Constraints`. Walls do without.

    Raises:
        UserError: parameters do not tell the trajectories; bodies that start all but together; a flux
            through a wall, or walls that disagree where they meet; an option out of range.

    Source: Raissi, Perdikaris & Karniadakis 2019 (doi:10.1016/j.jcp.2018.10.045); hard conditions: Lagaris,
    Likas & Fotiadis 1998 (doi:10.1109/72.712178).
    """

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
        self.constraints = Constraints(problem, constraints, met=("boundary",))
        self.uses_initial_state, self.uses_time = False, True
        if min(width, layers, waves, points, candidates) < 1 or min(causality, data_weight) < 0:
            raise UserError(
                f"surrogate.width={width}, surrogate.layers={layers}, surrogate.waves={waves}, "
                f"surrogate.points={points} and surrogate.candidates={candidates} must be at least 1, and "
                f"surrogate.causality={causality:g} and surrogate.data_weight={data_weight:g} at least 0"
            )
        self.causality, self.data_weight = causality, data_weight
        self.equation = None if problem.residual is None else Equation(problem)
        self.change = Change(problem, width=width, layers=layers, waves=waves)
        self.register_buffer("sites", site_coordinates(problem), persistent=False)
        self.drift = Drift(problem, waves)
        self.losses = (
            *(f"residual_{name}" for name in (() if self.equation is None else self.equation.names)),
            *(["mean"] if self.drift.channels else []),
            *(["data"] if data_weight else []),
        )
        of_axes = zip(problem.spec.lower, problem.spec.extent, strict=True)
        box = [] if problem.spec.has_particles else [(lower, lower + extent) for lower, extent in of_axes]
        box += [(0.0, problem.duration), *problem.spec.parameter_ranges]
        self.num_points, self.candidates = points, candidates
        self.even_points = EvenPoints(box, points * candidates)
        self.observations = Observations(problem, points) if data_weight else None
        self.num_random = len(box) + 1 + (Observations.num_random if data_weight else 0)

    @classmethod
    def incompatibility(cls, problem: Problem) -> str | None:
        """See `Surrogate.incompatibility`."""
        if not problem.spec.parametric:
            return "the scalar parameters, which are all that it is told, do not describe the initial fields"
        return unfit_walls(problem) or unfit_start(problem)

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The losses `residual_NAME`, `mean` where the equation leaves a mean free, `data` with a weight."""
        parts = self._parts(self.points(batch))
        return {name: part_MR.square().mean() for name, part_MR in parts.items()}

    # Derivatives at the start are taken by reverse mode, which cannot be traced.
    @torch.compiler.disable
    def points(self, batch: Batch) -> dict[str, torch.Tensor]:
        """See `LeastSquares.points`: a row is a point of the equation and, with data, a site and a frame."""
        uniform_BU = batch["random"]
        number = len(self.change.columns)
        places_BMD = self.even_points(uniform_BU[:, :number])
        if self.candidates > 1:
            square_BM = self._squares(self._at(places_BMD.flatten(0, 1)), len(uniform_BU))
            places_BMD = preferred(places_BMD, square_BM.sqrt(), uniform_BU[:, number], self.num_points)
        points = self._at(places_BMD.flatten(0, 1))
        if self.causality:
            time_BM = places_BMD[..., self.change.columns.index("t")]
            weight_BM = causal_weights(time_BM, self._squares(points, len(uniform_BU)), self.causality)
            points["weight"] = weight_BM.flatten()
        if self.observations is not None:
            points |= self.observations(batch, uniform_BU[:, number + 1 :])
        return points

    def residuals(self, points: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """See `LeastSquares.residuals`: what the squares of all losses are taken of."""
        parts = list(self._parts(points).values())
        number = sum(part_MR.shape[1] for part_MR in parts)
        # The mean over all columns is the sum of the means of the parts.
        return torch.cat([(number / part_MR.shape[1]) ** 0.5 * part_MR for part_MR in parts], dim=1)

    def no_jacobian(self) -> str | None:
        """See `LeastSquares.no_jacobian`."""
        if self.equation is None or self.equation.orders is not None:
            return None
        return (
            f"the equations {', '.join(self.equation.names)} ask for mixed derivatives or for some above the "
            "second"
        )

    def _parts(self, points: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What each loss is the mean square of, (M, R)."""
        assert self.equation is not None, "a loaded model is not trained"
        left = self._unbalanced(points) / len(self.equation.names) ** 0.5
        if self.causality:
            left = points["weight"].sqrt().view(-1, *[1] * (left.ndim - 1)) * left
        parts = {
            f"residual_{name}": column.reshape(len(column), -1)
            for name, column in zip(self.equation.names, left.unbind(-1), strict=True)
        }
        if self.drift.channels:
            parts["mean"] = self.drift(self.change, points["inputs"])
        if self.data_weight:
            parts["data"] = self.data_weight**0.5 * self._missed(points).flatten(1)
        return parts

    def _predict(self, initial_state: Array, parameters: Mapping[str, Any], times: Array) -> Prediction:
        """The states at any increasing `times`, each by one query."""
        state = initial_states(self.problem, initial_state, self.sites)
        time = increasing_times(times)
        _, scalars_BP = parameter_tensors(self.problem, parameters, len(state), self.sites)
        begin = self._moved(time[0], scalars_BP)
        later = [state + (self._moved(moment, scalars_BP) - begin) for moment in time[1:]]
        return Prediction(torch.stack([state, *(self._held(each, state) for each in later)], dim=1))

    def _held(self, state_BCX: torch.Tensor, start_BCX: torch.Tensor) -> torch.Tensor:
        """The states where the constraints hold, which would be the same ones less the mean of the data."""
        if not self.constraints.parts:
            return state_BCX
        scale = self.change.scale.view(-1, *[1] * len(self.problem.spec.shape))
        state_BXC, start_BXC = ((each / scale).movedim(1, -1) for each in (state_BCX, start_BCX))
        held: torch.Tensor = self.constraints(state_BXC, start_BXC)
        return held.movedim(-1, 1) * scale

    def _moved(self, time: float, scalars_BP: torch.Tensor) -> torch.Tensor:
        """The change (B, C, *X) since time 0 at all sites."""
        size, number = len(scalars_BP), len(self.sites)
        at = self.sites.new_full((size, number, 1), time)
        scalars = scalars_BP[:, None].expand(-1, number, -1)
        inputs_MD = torch.cat([self.sites.expand(size, -1, -1), at, scalars], dim=-1).flatten(0, 1)
        found: torch.Tensor = self.change(inputs_MD)
        return (
            found
            if self.problem.spec.has_particles
            else found.view(size, *self.problem.spec.shape, -1).movedim(-1, 1)
        )

    def _at(self, inputs_MD: torch.Tensor) -> dict[str, torch.Tensor]:
        """Points of the equation, with the fields at start."""
        assert self.equation is not None, "a loaded model is not trained"
        if self.equation.orders is None:
            return {"inputs": inputs_MD}
        start = start_derivatives(self.problem, inputs_MD, self.change.columns, self.equation.orders)
        points = {"inputs": inputs_MD, **start}
        if self.equation.operator is not None:
            at = self.change.named(inputs_MD)
            points["operator"] = self.equation.weights(self._start(points, at), self._scalars(at))
        return points

    def _unbalanced(self, points: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """What is left of the equations, (M, *N, E)."""
        assert self.equation is not None, "a loaded model is not trained"
        if self.equation.orders is None:
            return self._by_reverse_mode(points["inputs"])
        at = self.change.named(points["inputs"])
        moved = self.change.jet(points["inputs"], self.equation.orders, points.get("operator"))
        fields = self._start(points, at)
        for place, name in enumerate(self.problem.spec.channels):
            fields[name] = fields[name] + moved[:, place]
        return self.equation(fields, derivative, self._scalars(at))

    def _start(self, points: Mapping[str, torch.Tensor], at: Mapping[str, Jet]) -> dict[str, Any]:
        """The fields at start, and the time."""
        return start_jets(self.problem, points) | {"t": self._beside(at["t"])}

    def _squares(self, points: Mapping[str, torch.Tensor], num_windows: int) -> torch.Tensor:
        """The mean square over the equations of what is left at each point of windows, (B, M)."""
        with torch.no_grad():
            left = self._unbalanced(points).flatten(1)
        return left.square().mean(1).view(num_windows, -1)

    def _by_reverse_mode(self, inputs_MD: torch.Tensor) -> torch.Tensor:
        """What is left of equations that ask for more than jets carry, (M, E)."""
        assert self.equation is not None, "a loaded model is not trained"
        inputs_MD = inputs_MD.detach().requires_grad_()
        with torch.enable_grad():
            at = self.change.named(inputs_MD)
            moved = self.change(inputs_MD)
            fields = initial_condition(self.problem, inputs_MD, self.change.columns)
            for place, name in enumerate(self.problem.spec.channels):
                fields[name] = fields[name] + moved[:, place]
            differentiate = deepxde_adapter.reverse_mode(inputs_MD, self.change.columns)
            fields["t"] = self._beside(at["t"].value)
            scalars = {name: value(jet) for name, jet in self._scalars(at).items()}
            return self.equation(fields, differentiate, scalars)

    def _scalars(self, at: Mapping[str, Jet]) -> dict[str, Jet]:
        return {name: self._beside(at[name]) for name in self.problem.spec.parameter_names}

    def _beside(self, values: Any) -> Any:
        """Numbers (M,) of points with an axis for the bodies of particles."""
        return values[:, None] if self.problem.spec.has_particles else values

    def _missed(self, points: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """How far answers are from the data, in standard deviations, (M, C, *N)."""
        missed: torch.Tensor = self.change(points["then"]) - self.change(points["before"]) - points["change"]
        return missed / self.change.scale
