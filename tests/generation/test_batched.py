"""Batches of trajectories, compared byte for byte with trajectories that are computed one by one."""

import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from mpi4py import MPI

import configs
from pipeline.config.build import build_solver
from pipeline.data.dataset import Dataset
from pipeline.data.format.layout import Header
from pipeline.data.manifest import read_complete_manifest, receipts_of
from pipeline.data.plan import Shard, index
from pipeline.data.running_statistics import RunningStatistics
from pipeline.generation.batched import BATCH_BYTES, solves_batches
from pipeline.generation.frames import FrameFiller
from pipeline.generation.shards import ShardMaker
from solvers.batches import BatchedSolver
from tests.support.in_process import generate_in_process
from tests.support.launching import require_success, run, run_stage

THREE_BODIES = (
    "experiment=three_body",
    "samples={train: 50, valid: 5, test: 5, test_extrapolation: 0, calibration: 0, per_shard: 10}",
    "output.steps=20",
    "solver.accuracy=0.02",
    "storage.max_failed_share=0.9",
)


@pytest.fixture(scope="module")
def single_rank_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the data set from one rank, in which some trajectories fail."""
    return generate_in_process(tmp_path_factory.mktemp("one_rank"), *THREE_BODIES)


def shards(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every shard by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("data/*/*.hdf5"))}


def test_three_ranks_write_the_same_bytes(single_rank_dataset: Path, tmp_path: Path) -> None:
    require_success(run_stage("generate", *THREE_BODIES, f"run={tmp_path}", ranks=3))
    assert shards(tmp_path / "dataset") == shards(single_rank_dataset)
    assert len(shards(single_rank_dataset)) == 7


def test_failed_trajectories_are_omitted_with_their_reasons(single_rank_dataset: Path) -> None:
    manifest = read_complete_manifest(single_rank_dataset)
    assert 0 < len(manifest.failed) < 60
    assert all("energy" in failure.reason for failure in manifest.failed)
    assert sum(shard.trajectories for shard in manifest.shards) + len(manifest.failed) == 60
    card = (single_rank_dataset / "README.md").read_text()
    assert card.count("- trajectory ") == min(len(manifest.failed), 10)
    assert (f"and {len(manifest.failed) - 10} more" in card) is (len(manifest.failed) > 10)
    for receipt in receipts_of(single_rank_dataset, manifest):
        assert len(receipt.indices) == receipt.trajectories == 10 - len(receipt.failed) or receipt.drawn == 5


def test_the_data_pass_their_validation_and_can_be_read(single_rank_dataset: Path) -> None:
    require_success(run_stage("validate", *THREE_BODIES, f"run={single_rank_dataset.parent}"))
    dataset = Dataset.open(single_rank_dataset)
    assert dataset.spec.channels == ("position_x", "position_y", "velocity_x", "velocity_y")
    trajectory = dataset.trajectory("train", 0)
    assert trajectory.state.shape == (21, 4, 3)
    assert repr(trajectory).startswith("StoredTrajectory 1: 21 frames from 0 to ")
    assert np.all(trajectory.state[0, 2:] == 0)
    np.testing.assert_allclose(trajectory.state[:, :2].sum(axis=2), 0, atol=1e-6)


def test_a_shard_from_batches_has_the_bytes_of_a_shard_from_single_trajectories(tmp_path: Path) -> None:
    options = yaml.safe_load((Path(configs.__path__[0]) / "solver" / "nbody.yaml").read_text())
    solver = build_solver(options | {"accuracy": 0.02}, MPI.COMM_SELF)
    assert isinstance(solver, BatchedSolver)
    # 25 trajectories with 4001 frames fill more than one batch.
    header = Header(solver.spec, np.linspace(0, 3.9, 4001), "float32", {}, {})
    assert solves_batches(solver)
    assert BATCH_BYTES < 25 * 4001 * 4 * 3 * 4
    shard = Shard("train", 0, index("train", 0), 25)
    receipts = []
    for name in ("batches", "single"):
        maker = ShardMaker(solver, header, tmp_path / name, "hash", seed=0, progress_hook=lambda: None)
        if name == "single":
            maker._fill = FrameFiller(solver, header, 0, lambda: None).fill
        receipts.append(maker.make(shard))
    assert shards(tmp_path / "batches") == shards(tmp_path / "single")
    batch_receipt, single_receipt = receipts
    assert batch_receipt.failed == single_receipt.failed
    assert 0 < len(batch_receipt.failed) < 25
    for kind, plain_statistics in batch_receipt.statistics.items():
        from_batches, from_frames = map(
            RunningStatistics.from_json, (plain_statistics, single_receipt.statistics[kind])
        )
        for name in ("mean", "std", "minimum", "maximum"):
            actual, expected = getattr(from_batches, name), getattr(from_frames, name)
            np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)


def test_more_trajectories_take_no_more_memory(tmp_path: Path) -> None:
    peaks = []
    for count in (500, 5000):
        overrides = (
            "experiment=two_body",
            f"samples={{train: {count}, valid: 1, test: 1, test_extrapolation: 0, per_shard: 500}}",
            "samples.calibration=0",
            "output={duration: 2.0, steps: 50}",
            f"run={tmp_path}/{count}",
        )
        command = [sys.executable, "-m", "tests.support.peak_memory", *overrides]
        result = require_success(run(command, cwd=Path(__file__).parents[2]))
        peaks.append(int(result.stdout.split()[-1]))
    peak_of_few, peak_of_many = peaks
    num_bytes = sum(map(len, shards(tmp_path / "5000" / "dataset").values()))
    assert num_bytes > 8 * 2**20
    assert peak_of_many - peak_of_few < 8
