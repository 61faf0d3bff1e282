"""Coarse frames of a chaotic solver that returns whole solutions only."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import h5py
import numpy as np

from pipeline.coarsening.solver import coarsened
from pipeline.data.format.layout import Header
from pipeline.data.plan import Shard, generator, index
from pipeline.generation.shards import ShardMaker
from solvers.contract import Parameters, Solver, SteppedTrajectory, Trajectory
from tests.contracts.test_whole_solutions import TIMES, Decay


class ChaoticDecay(Decay):
    """`Decay` with a second solution whose rate differs, so that the difference grows."""

    spec = dataclasses.replace(Decay.spec, chaotic=True)

    def __init__(self, rate_error: float = 0.0):
        self.rate_error = rate_error

    def prepare(self, parameters: Parameters) -> Trajectory:
        return super().prepare(parameters | {"rate": parameters["rate"] + self.rate_error})

    def with_other_accuracy(self) -> tuple[Solver, float]:
        return ChaoticDecay(rate_error=0.03), 1.0


def test_the_frames_and_the_predictable_time_are_those_of_the_averages(tmp_path: Path) -> None:
    own_solver = ChaoticDecay()
    solver = coarsened(own_solver, {"coarsen": [4], "coarsen_method": "cell_averages"})
    header = Header(solver.spec, TIMES, "float64", {}, {})
    maker = ShardMaker(solver, header, tmp_path, "hash", seed=0, progress_hook=lambda: None)
    shard = Shard("train", 0, index("train", 0), 12)
    receipt = maker.make(shard)
    assert 0 < len(receipt.failed) < 12
    samples = [own_solver.sample(generator(0, trajectory)) for trajectory in receipt.indices.tolist()]
    with h5py.File(tmp_path / shard.file) as file:
        density = file["t0_fields/density"][:]
    averages = [
        np.exp(-sample["rate"] * TIMES)[:, None] * sample["start"].reshape(2, 4).mean(1) for sample in samples
    ]
    np.testing.assert_allclose(density, averages, rtol=1e-14)
    expected_times = []
    for sample in samples:
        size = np.exp(-sample["rate"] * TIMES)
        difference = size * (1 - np.exp(-0.03 * TIMES))
        is_small = difference <= 0.01 * np.maximum(size, np.sqrt(np.mean(size**2)))
        expected_times.append(TIMES[-1] if is_small.all() else TIMES[np.argmin(is_small) - 1])
    assert receipt.predictable_times == expected_times
    assert min(expected_times) < TIMES[-1]
    assert not isinstance(solver.prepare(samples[0]), SteppedTrajectory)
