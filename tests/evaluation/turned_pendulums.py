"""Three bodies on springs in the plane, in axes turned by `angle`: an exact solution."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from simsurrogate.spec import Field, Parameter, Particles, Spec
from solvers.contract import Parameters, Solver, Trajectory


class Springs(Trajectory):
    """x(t) = x0 cos(w t) + v0 / w sin(w t) of each body, turned by the angle; w in rad/s."""

    def __init__(self, start: np.ndarray, rate: float, angle: float):
        self.start, self.rate = start, rate
        self.rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        self.coefficient_fields = np.ones((1, start.shape[-1]))

    def solve(self, times: np.ndarray) -> Iterator[np.ndarray]:
        for time in times:
            cosine, sine = np.cos(self.rate * time), np.sin(self.rate * time)
            position = self.start[0] * cosine + self.start[1] / self.rate * sine
            velocity = self.start[1] * cosine - self.start[0] * self.rate * sine
            yield np.concatenate([self.rotation @ position, self.rotation @ velocity])


class TurnedPendulums(Solver):
    """Springs of random rate. Positions and velocities are larger along the first axis before the turn."""

    method = "exact solution"
    order_in_time = order_in_space = float("inf")
    time_scale = 1.0

    def __init__(self, *, communicator: Any, angle: float = 0.0):
        self.communicator, self.angle = communicator, angle
        self.block = (slice(0, 3),)
        self.spec = Spec(
            name="turned_pendulums",
            equation="x'' = -w^2 x",
            sites=Particles(3, 2),
            fields=(Field("position", "m", "position", 1), Field("velocity", "m/s", "velocity", 1)),
            coefficient_fields=(Field("mass", "kg", "mass"),),
            parameters=(Parameter("rate", "rad/s", "angular frequency", 1.0, 2.0),),
            invariants=(),
            autonomous=True,
            parametric=False,
        )

    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        start = np.array([4.0, 0.5])[None, :, None] * rng.standard_normal((2, 2, 3)) + 1.0
        return {"rate": float(rng.uniform(2.0, 3.0) if outside else rng.uniform(1.0, 2.0)), "start": start}

    def prepare(self, parameters: Parameters) -> Trajectory:
        return Springs(parameters["start"], parameters["rate"], self.angle)
