"""Exact heat conduction on a periodic line from one cosine: u_t = k u_xx, temperature u in K."""

from __future__ import annotations

from collections.abc import Iterator
from time import sleep
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt

from simsurrogate.spec import Axis, Field, Grid, Parameter, Spec
from solvers.contract import Parameters, Solver, Trajectory


class Wave(Trajectory):
    """u(x, t) = a cos(2 pi x) exp(-4 pi^2 k t)."""

    def __init__(self, amplitude: float, diffusivity: float, positions: np.ndarray, pause: float):
        self.amplitude, self.diffusivity, self.positions = amplitude, diffusivity, positions
        self.pause = pause

    def solve(self, times: np.ndarray) -> Iterator[np.ndarray]:
        sleep(self.pause)
        for time in times:
            decay = np.exp(-4 * np.pi**2 * self.diffusivity * time)
            yield self.amplitude * decay * np.cos(2 * np.pi * self.positions)[None]


class DecayingWave(Solver):
    """One cosine with a random amplitude (K) in a box of 1 m with `resolution` cells.

    The unit of `diffusivity` is m^2/s. Each solution begins with a `pause` (s), for tests that need a slow
    solver.
    """

    method = "exact solution"
    order_in_time = order_in_space = float("inf")

    def __init__(
        self,
        *,
        communicator: Any,
        resolution: int = 16,
        diffusivity: Annotated[float, Gt(0)] = 0.1,
        pause: Annotated[float, Ge(0)] = 0.0,
    ):
        self.communicator, self.diffusivity, self.pause = communicator, diffusivity, pause
        self.time_scale = 1 / (4 * np.pi**2 * diffusivity)
        self.axis = Axis("x", "m", resolution, 0.0, 1.0, "periodic")
        self.block = (slice(0, resolution),)
        self.spec = Spec(
            name="decaying_wave",
            equation="u_t = k u_xx",
            sites=Grid((self.axis,)),
            fields=(Field("temperature", "K", "the temperature"),),
            coefficient_fields=(),
            parameters=(Parameter("amplitude", "K", "the amplitude at time 0", 0.5, 1.5),),
            invariants=(),
            autonomous=True,
            parametric=True,
        )

    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        return {"amplitude": float(rng.uniform(1.5, 2.0) if outside else rng.uniform(0.5, 1.5))}

    def prepare(self, parameters: Parameters) -> Trajectory:
        return Wave(parameters["amplitude"], self.diffusivity, self.axis.centres, self.pause)
