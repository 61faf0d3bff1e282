"""A pattern that drifts, known exactly at all times: a small solver with scalar and vector fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from mpi4py import MPI

from solvers.contract import Axis, Field, Parameter, Parameters, Quantity, Solver, Spec


class Drift(Solver):
    """n_t + v·∇n = 0 with v(t) = speed cos(t) in each direction, on a periodic box of any dimension."""

    method = "exact"

    def __init__(self, resolution: list[int], *, communicator: MPI.Intracomm):
        if communicator.size > resolution[0]:
            raise ValueError(
                f"{communicator.size} ranks share {resolution[0]} rows: use at most {resolution[0]}"
            )
        axes = tuple(
            Axis(name, "m", size, 0.0, 1.0, "periodic") for name, size in zip("xyz", resolution, strict=False)
        )
        self.communicator = communicator
        self.counts = {}
        self.spec = Spec(
            name="drift",
            equation="n_t + v·∇n = 0",
            axes=axes,
            fields=(
                Field("density", "kg/m^3", "what drifts"),
                Field("velocity", "m/s", "how it drifts", order=1),
            ),
            coefficients=(Field("background", "kg/m^3", "the part that rests"),),
            parameters=(
                Parameter("amplitude", "kg/m^3", "of the pattern", 0.5, 1.0),
                Parameter("speed", "m/s", "of the drift", 1.0, 2.0),
            ),
            invariants=(Quantity("mass", "kg", "the integral of the density"),),
            autonomous=False,
            determined=False,
        )
        cut = np.linspace(0, resolution[0], communicator.size + 1).astype(int)
        rows = slice(int(cut[communicator.rank]), int(cut[communicator.rank + 1]))
        self.block = (rows, *(slice(0, size) for size in resolution[1:]))
        self._places = np.meshgrid(
            *(axis.coordinates[part] for axis, part in zip(axes, self.block, strict=True)), indexing="ij"
        )

    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        shift = np.array([0.5, 1.0]) if outside else 0.0
        amplitude, speed = rng.uniform([0.5, 1.0], [1.0, 2.0]) + shift
        return {"amplitude": amplitude, "speed": speed, "phases": rng.uniform(0, 2 * np.pi, (3, 2))}

    def coefficients(self, parameters: Parameters) -> np.ndarray:
        return np.stack([np.cos(2 * np.pi * sum(self._places) + parameters["phases"][0, 0])])

    def initial_state(self, parameters: Parameters) -> np.ndarray:
        return self._state(parameters, 0.0)

    def advance(self, state: np.ndarray, parameters: Parameters, time: float, duration: float) -> np.ndarray:
        return self._state(parameters, time + duration)

    def invariants(self, state: np.ndarray, parameters: Parameters) -> dict[str, float]:
        cells = int(np.prod([axis.size for axis in self.spec.axes]))
        return {"mass": float(self.communicator.allreduce(state[0].sum())) / cells}

    def residual(
        self,
        fields: Mapping[str, Any],
        derivative: Callable[..., Any],
        parameters: Mapping[str, Any],
    ) -> dict[str, Any]:
        raise NotImplementedError

    def _state(self, parameters: Parameters, time: float) -> np.ndarray:
        way = parameters["speed"] * np.sin(time)
        density = 1 + parameters["amplitude"] * np.sin(
            2 * np.pi * sum(place - way for place in self._places) + parameters["phases"][1, 1]
        )
        velocity = np.full_like(density, parameters["speed"] * np.cos(time))
        return np.stack([density, *[velocity * (number + 1) for number in range(len(self._places))]])
