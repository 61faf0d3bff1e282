"""A solver that mostly waits: u(x, t) = a cos(2 pi x) exp(-t), for jobs that must not end at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from simsurrogate.spec import Axis, Field, Grid, Parameter, Spec
from solvers.contract import Parameters, Solver, Trajectory


class Wave(Trajectory):
    """The solution, half a second after the request."""

    def __init__(self, wave: np.ndarray):
        self.wave = wave

    def solve(self, times: np.ndarray) -> Iterator[np.ndarray]:
        time.sleep(0.5)
        for moment in times:
            yield self.wave * np.exp(-moment)


class SlowWave(Solver):
    """One cosine with a random amplitude (K) in a periodic box of 24 cells and 1 m; time in s."""

    method = "exact solution"
    order_in_time = order_in_space = float("inf")
    time_scale = 1.0
    block = (slice(0, 24),)

    def __init__(self, *, communicator: Any):
        self.communicator = communicator
        self.axis = Axis("x", "m", 24, 0.0, 1.0, "periodic")
        self.spec = Spec(
            name="slow_wave",
            equation="u_t = -u",
            sites=Grid((self.axis,)),
            fields=(Field("temperature", "K", "the temperature"),),
            coefficient_fields=(),
            parameters=(Parameter("amplitude", "K", "the amplitude at time 0", 0.5, 1.5),),
            invariants=(),
            autonomous=True,
            parametric=True,
        )

    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        return {"amplitude": float(rng.uniform(0.5, 1.5))}

    def prepare(self, parameters: Parameters) -> Trajectory:
        return Wave(parameters["amplitude"] * np.cos(2 * np.pi * self.axis.centres)[None])
