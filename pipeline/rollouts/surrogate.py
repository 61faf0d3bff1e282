"""A trained surrogate in the place of the solver of its data: its rollouts are a data set.

The solver of the data that the model descends from draws parameters, initial states and coefficient fields,
and the surrogate computes the later frames. The data set says so in its origin.

Shape letters: T frames, C channels, K coefficient fields; `*sites` as in the spec.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from mpi4py import MPI
from pydantic import Field

from pipeline.config.build import build_recorded_solver
from pipeline.data.lineage.family import Family
from pipeline.data.origin import Origin
from pipeline.data.recorded_configuration import computed_by_solver
from pipeline.generation.rows import RejectedError
from pipeline.rollouts.verification import Unverified, Verification, mistake
from pipeline.runs.model_family import family_of_model
from simsurrogate.errors import UserError
from solvers.contract import Parameters, Solver, SteppedTrajectory, Trajectory
from surrogates import store
from surrogates.contract import ExtrapolationWarning

if TYPE_CHECKING:
    from surrogates.contract import Surrogate as TrainedSurrogate

_Model = Annotated[str, Field(min_length=1, description="the folder of a trained model")]


class Surrogate(Solver):
    """The rollouts of a trained model, with the parameters, the starts and the spec of its solver.

    Args:
        model: the folder of the trained model.
        verify: whether and how each trajectory is verified.
        communicator: one rank; other ranks compute other trajectories.

    Raises:
        UserError: there is no such model, several ranks share a trajectory, or the model descends from no
            data of a solver of this pipeline.
    """

    order_in_time = order_in_space = math.nan

    def __init__(
        self,
        *,
        model: _Model | None = None,
        verify: Verification = Unverified(),  # noqa: B008
        communicator: MPI.Intracomm,
    ):
        if model is None:
            raise UserError(
                "solver=surrogate has no model. It computes trajectories with a trained model. Add "
                "solver.model=RUN/models/MODEL"
            )
        if communicator.size > 1:
            raise UserError(
                f"group_size={communicator.size}: solver=surrogate runs on one rank. Other ranks compute "
                "other trajectories. Type group_size=1"
            )
        folder = Path(model)
        self.communicator, self.verify = communicator, verify
        self.family = family_of_model(folder)
        self.key = str(store.description(folder)["sha256"])
        self.drawn_by = _drawing_configuration(self.family, self.key, folder)
        self.reference = build_recorded_solver(self.drawn_by, {}, communicator)
        self.trained: TrainedSurrogate = store.load(folder)
        self.spec, self.time_scale = self.reference.spec, self.reference.time_scale
        self.block = tuple(slice(0, size) for size in self.spec.shape)
        self.name = self.family.models[self.key].name
        self.method = f"rollouts of the surrogate {self.name} {self.key[:12]}"
        _refuse_other_problem(self.trained, self.reference, folder)

    def recorded_origin(self) -> dict[str, Any]:
        """Return the origin of the trajectories, and the configuration of the solver that draws them."""
        node = self.family.models[self.key]
        origin = Origin(
            kind="surrogate",
            name=node.name,
            model=self.key,
            data=node.data[0],
            generation=node.generation,
            verified=self.verify.text,
        )
        return {
            "origin": origin.model_dump(mode="json", exclude_defaults=True),
            "drawn_by": dict(self.drawn_by),
        }

    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        """Draw the parameters of the solver, see `Solver.sample`."""
        return self.reference.sample(rng, outside)

    def prepare(self, parameters: Parameters) -> Rollout:
        """Return the rollout with these parameters."""
        return Rollout(self, parameters, self.reference.prepare(parameters))

    def with_other_accuracy(self) -> tuple[Solver, float]:
        """Return the solver: a rollout is predictable as long as it follows the solver."""
        return self.reference, 1.0

    def residual(
        self, fields: Mapping[str, Any], derivative: Callable[..., Any], parameters: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the residual of the equation of the solver, see `Solver.residual`."""
        return self.reference.residual(fields, derivative, parameters)

    def initial_condition(
        self, coordinates: Mapping[str, Any], parameters: Mapping[str, Any], xp: Any
    ) -> dict[str, Any]:
        """Return the initial condition of the solver, see `Solver.initial_condition`."""
        return self.reference.initial_condition(coordinates, parameters, xp)


@dataclass
class Rollout(Trajectory):
    """The rollout of a surrogate from the initial state of a trajectory of the solver."""

    solver: Surrogate
    parameters: Parameters
    true_trajectory: Trajectory

    @property
    def coefficient_fields(self) -> np.ndarray | None:  # type: ignore[override]
        """The coefficient fields of the solver, (K, *sites)."""
        return self.true_trajectory.coefficient_fields

    def solve(self, times: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the predicted states (C, *sites), see `Trajectory.solve`.

        Raises:
            RejectedError: the verification rejects the trajectory.
        """
        states = self._predicted(times)
        solver = self.solver
        reason = mistake(
            solver.verify,
            solver.reference,
            self.true_trajectory,
            parameters=self.parameters,
            states=states,
            times=times,
        )
        if reason:
            raise RejectedError(f"rejected: {reason}")
        yield from states

    def invariants(self, state: np.ndarray) -> dict[str, float]:
        """Return the invariants of the solver, see `Trajectory.invariants`."""
        return self.true_trajectory.invariants(state)

    def quantities(self, state: np.ndarray) -> dict[str, float]:
        """Return the own quantities of the solver, see `Trajectory.quantities`."""
        return self.true_trajectory.quantities(state)

    def _predicted(self, times: np.ndarray) -> np.ndarray:
        """Return the initial state and the predictions, float64 (T, C, *sites)."""
        start = self.true_trajectory
        initial_state = (
            start.initial_state if isinstance(start, SteppedTrajectory) else next(iter(start.solve(times)))
        )
        spec = self.solver.spec
        values = {name: np.array([self.parameters[name]], np.float64) for name in spec.parameter_names}
        if start.coefficient_fields is not None:
            values |= {
                name: field[None]
                for name, field in zip(spec.coefficient_channels, start.coefficient_fields, strict=True)
            }
        num_threads = torch.get_num_threads()
        # The last bits depend on the number of threads.
        torch.set_num_threads(1)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExtrapolationWarning)
                prediction = self.solver.trained.predict(initial_state[None], values, times)
        finally:
            torch.set_num_threads(num_threads)
        states: np.ndarray = prediction.mean[0].cpu().numpy().astype(np.float64)
        states[0] = initial_state
        return states


def _drawing_configuration(family: Family, key: str, folder: Path) -> Mapping[str, Any]:
    """Return the configuration of the solver's data from which a model descends.

    Raises:
        UserError: the model descends from no such data.
    """
    for identity in family.models[key].data:
        node = family.data.get(identity)
        if node is not None and node.configuration:
            return computed_by_solver(node.configuration)
    raise UserError(
        f"solver.model={folder} descends from no data of a solver of this pipeline, so nothing draws "
        "parameters and initial states. Models of generated data have a solver. Name another model"
    )


def _refuse_other_problem(trained: TrainedSurrogate, reference: Solver, folder: Path) -> None:
    """Refuse a model that predicts other fields than those of the solver of its data."""
    own, spec = trained.problem.spec, reference.spec
    for name in ("channels", "coefficient_channels", "parameter_names", "shape"):
        if getattr(own, name) != getattr(spec, name):
            raise UserError(
                f"solver.model={folder} has {name}={getattr(own, name)}, and the solver of its data has "
                f"{getattr(spec, name)}. A surrogate of whole fields on the grid of its data is needed. Name "
                "another model"
            )
