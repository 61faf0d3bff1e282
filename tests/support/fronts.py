"""A solver of fronts of drawn widths that grow steeper, and its cautions on several ranks."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from pipeline.generation.drawn_range import check_drawn_range
from simsurrogate.spec import Axis, Field, Grid, Parameter, Spec
from solvers.contract import Parameters, Solver, SteppedTrajectory

CELLS = 48
#: With this seed, trajectory 50 of `train` has the narrowest fronts, and the first trajectories are resolved.
SEED = 10
SAMPLES = {"train": 100, "valid": 1, "test": 1, "test_extrapolation": 0}


class Fronts(Solver):
    """Two fronts of width w exp(-t) on a periodic line, in the state or in a coefficient field."""

    method, order_in_time, order_in_space, time_scale = "formula", math.nan, math.nan, 1.0

    def __init__(self, communicator: MPI.Intracomm, *, has_coefficient: bool = False, is_smooth: bool = True):
        coefficient_fields = (Field("k", "1", "medium"),) if has_coefficient else ()
        self.communicator = communicator
        self.spec = Spec(
            name="fronts",
            equation="",
            sites=Grid((Axis("x", "m", CELLS, 0.0, 1.0, "periodic"),)),
            fields=(Field("u", "K", "temperature"),),
            coefficient_fields=coefficient_fields,
            parameters=(Parameter("height", "K", "", 1.0, 2.0), Parameter("width", "m", "", 0.0, 1.0)),
            invariants=(),
            autonomous=True,
            parametric=True,
            smooth_coefficients=is_smooth,
        )
        share = CELLS // communicator.size
        self.block = (slice(communicator.rank * share, (communicator.rank + 1) * share),)

    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        return {"height": rng.uniform(1, 2), "width": rng.uniform()}

    def prepare(self, parameters: Parameters) -> Front:
        return Front(self, parameters["height"], parameters["width"])


@dataclass
class Front(SteppedTrajectory):
    """The fronts of one trajectory. With a coefficient field, the state is a wave."""

    solver: Fronts
    height: float
    width: float

    def __post_init__(self) -> None:
        self.initial_state = self.at(0.0)
        if self.solver.spec.coefficient_fields:
            self.coefficient_fields, self.initial_state = self.at(0.0), self.at(-10.0)

    def at(self, time: float) -> np.ndarray:
        wave = np.sin(2 * np.pi * (np.arange(CELLS) + 0.5) / CELLS)[self.solver.block]
        fronts: np.ndarray = self.height * np.tanh(wave / (4 * self.width * np.exp(-time)))[None]
        return fronts

    def advance(self, state: np.ndarray, time: float, duration: float) -> np.ndarray:
        return self.at(time + duration)


def main() -> None:
    """Print the cautions of a group of all ranks, and of groups of one rank, on each rank."""
    world = MPI.COMM_WORLD
    cautions = [check_drawn_range(Fronts(group), SEED, SAMPLES, world) for group in (world, MPI.COMM_SELF)]
    for texts in world.gather(cautions) or ():
        print(json.dumps(texts), flush=True)


if __name__ == "__main__":
    main()
