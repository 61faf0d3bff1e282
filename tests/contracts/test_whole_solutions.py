"""Data sets from a solver that returns whole solutions only."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
from mpi4py import MPI

from pipeline.data.format.layout import Header
from pipeline.data.plan import Shard, generator, index
from pipeline.generation.shards import ShardMaker
from simsurrogate.errors import UserError
from simsurrogate.spec import Axis, Field, Grid, Parameter, Spec
from solvers.contract import DivergedError, Parameters, Solver, Trajectory

TIMES = np.linspace(0.0, 1.0, 5)
CELLS = 8


class Decay(Solver):
    """n_t = -rate n, solved like an external program: from the parameters to all frames."""

    method = "exact"
    order_in_time = math.inf
    order_in_space = math.inf
    time_scale = 1.0
    communicator = MPI.COMM_SELF
    block = (slice(0, CELLS),)
    spec = Spec(
        name="decay",
        equation="n_t = -rate n",
        sites=Grid((Axis("x", "m", CELLS, 0.0, 1.0, "periodic"),)),
        fields=(Field("density", "kg/m^3", "density"),),
        coefficient_fields=(),
        parameters=(Parameter("rate", "s^-1", "decay rate", 1.0, 2.0),),
        invariants=(),
        autonomous=True,
        parametric=False,
    )

    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        return {"rate": float(rng.uniform(1.0, 2.0)), "start": rng.uniform(0.0, 1.0, CELLS)}

    def prepare(self, parameters: Parameters) -> Trajectory:
        return DecayTrajectory(parameters)


@dataclass(frozen=True)
class DecayTrajectory(Trajectory):
    """Whole solutions of `Decay`, with a failure after two frames for a rate above 1.8 1/s."""

    parameters: Parameters

    def solve(self, times: np.ndarray) -> Iterator[np.ndarray]:
        for frame, time in enumerate(times):
            if frame == 2 and self.parameters["rate"] > 1.8:
                raise DivergedError("the external program failed")
            yield np.exp(-self.parameters["rate"] * time) * self.parameters["start"][None]


def test_whole_solutions_are_written_to_a_shard(tmp_path: Path) -> None:
    solver = Decay()
    maker = ShardMaker(
        solver,
        Header(solver.spec, TIMES, "float64", {}, {}),
        tmp_path,
        "hash",
        seed=0,
        progress_hook=lambda: None,
    )
    shard = Shard("train", 0, index("train", 0), 12)
    receipt = maker.make(shard)
    samples = {
        trajectory_index: solver.sample(generator(0, trajectory_index)) for trajectory_index in shard.indices
    }
    failing_indices = [
        trajectory_index for trajectory_index, sample in samples.items() if sample["rate"] > 1.8
    ]
    assert 0 < len(failing_indices) < 12
    assert [failure.index for failure in receipt.failed] == failing_indices
    assert {failure.reason for failure in receipt.failed} == {"the external program failed"}
    kept_samples = [
        sample for trajectory_index, sample in samples.items() if trajectory_index not in failing_indices
    ]
    with h5py.File(tmp_path / shard.file) as file:
        density = file["t0_fields/density"][:]
    expected = [np.exp(-sample["rate"] * TIMES)[:, None] * sample["start"] for sample in kept_samples]
    assert np.array_equal(density, np.array(expected))


def test_residual_invariants_and_initial_condition_have_defaults() -> None:
    solver = Decay()
    parameters = solver.sample(np.random.default_rng(0))
    trajectory = solver.prepare(parameters)
    (state,) = trajectory.solve(np.array([0.0]))
    assert trajectory.invariants(state) == {}
    assert trajectory.coefficient_fields is None
    assert solver.residual({"density": state}, lambda values, _: values, parameters) == {}
    with pytest.raises(
        UserError, match="the decay trajectories have no initial condition at arbitrary points"
    ):
        solver.initial_condition({"x": np.zeros(1)}, parameters, np)
