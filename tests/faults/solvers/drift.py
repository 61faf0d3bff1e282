"""An exact solver of a drifting pattern, with a scalar and a vector field."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from mpi4py import MPI

from simsurrogate.errors import UserError
from simsurrogate.spec import Axis, Field, Grid, Parameter, Quantity, Spec
from solvers.contract import Parameters, Solver, SteppedTrajectory


class Drift(Solver):
    """n_t + v·∇n = 0 with v(t) = speed cos(t) in each direction, on a periodic box of any dimension.

    Args:
        resolution: the cells along each axis.
        communicator: the ranks that share one trajectory.

    Raises:
        UserError: there are more ranks than rows.
    """

    method = "exact"
    order_in_time = math.inf
    order_in_space = math.inf
    time_scale = 0.1

    def __init__(self, resolution: list[int], *, communicator: MPI.Intracomm):
        if communicator.size > resolution[0]:
            raise UserError(
                f"{communicator.size} ranks cannot share {resolution[0]} rows. "
                f"Use group_size={resolution[0]} or less"
            )
        axes = tuple(
            Axis(name, "m", size, 0.0, 1.0, "periodic") for name, size in zip("xyz", resolution, strict=False)
        )
        self.communicator = communicator
        self.spec = Spec(
            name="drift",
            equation="n_t + v·∇n = 0",
            sites=Grid(axes),
            fields=(
                Field("density", "kg/m^3", "density of the pattern"),
                Field("velocity", "m/s", "velocity of the pattern", tensor_order=1),
            ),
            coefficient_fields=(Field("background", "kg/m^3", "density at rest"),),
            parameters=(
                Parameter("amplitude", "kg/m^3", "amplitude of the pattern", 0.5, 1.0),
                Parameter("speed", "m/s", "largest speed of the pattern", 1.0, 2.0),
            ),
            invariants=(Quantity("mass", "kg", "integral of the density"),),
            autonomous=False,
            parametric=False,
        )
        row_bounds = np.linspace(0, resolution[0], communicator.size + 1).astype(int)
        rows = slice(int(row_bounds[communicator.rank]), int(row_bounds[communicator.rank + 1]))
        self.block = (rows, *(slice(0, size) for size in resolution[1:]))

    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        shift = np.array([0.5, 1.0]) if outside else 0.0
        amplitude, speed = rng.uniform([0.5, 1.0], [1.0, 2.0]) + shift
        return {
            "amplitude": float(amplitude),
            "speed": float(speed),
            "phases": rng.uniform(0, 2 * np.pi, (3, 2)),
        }

    def prepare(self, parameters: Parameters) -> DriftTrajectory:
        return DriftTrajectory(self.spec, self.block, self.communicator, parameters)


@dataclass(frozen=True)
class DriftTrajectory(SteppedTrajectory):
    """The pattern for one set of parameters, on the cells `block` of this rank."""

    spec: Spec
    block: tuple[slice, ...]
    communicator: MPI.Intracomm
    parameters: Parameters

    @cached_property
    def centres(self) -> list[np.ndarray]:
        """Return the coordinates (m) of this rank's cell centres along each axis, (*block) each."""
        rows = (
            axis.centres[block_slice] for axis, block_slice in zip(self.spec.axes, self.block, strict=True)
        )
        return list(np.meshgrid(*rows, indexing="ij"))

    @cached_property
    def coefficient_fields(self) -> np.ndarray:  # type: ignore[override]
        phase = self.parameters["phases"][0, 0]
        return np.stack([np.cos(2 * np.pi * sum(self.centres) + phase)])

    @cached_property
    def initial_state(self) -> np.ndarray:  # type: ignore[override]
        return self._state(0.0)

    def advance(self, state: np.ndarray, time: float, duration: float) -> np.ndarray:
        return self._state(time + duration)

    def budget(self, state: np.ndarray, time: float, duration: float) -> dict[str, float]:
        return {"mass": 0.0}

    def invariants(self, state: np.ndarray) -> dict[str, float]:
        return {"mass": float(self.communicator.allreduce(state[0].sum())) / math.prod(self.spec.shape)}

    def _state(self, time: float) -> np.ndarray:
        shift = self.parameters["speed"] * np.sin(time)
        density = 1 + self.parameters["amplitude"] * np.sin(
            2 * np.pi * sum(centre - shift for centre in self.centres) + self.parameters["phases"][1, 1]
        )
        velocity = np.full_like(density, self.parameters["speed"] * np.cos(time))
        return np.stack([density, *[velocity * (axis + 1) for axis in range(len(self.centres))]])
