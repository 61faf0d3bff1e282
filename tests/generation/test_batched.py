"""Small trajectories, computed and written many at a time, are those that are computed one by one."""

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
from pipeline.data.manifest import complete_manifest, receipts_of
from pipeline.data.plan import Shard, index
from pipeline.generation.batched import BATCH_BYTES, solves_batches
from pipeline.generation.frames import FrameFiller
from pipeline.generation.shards import ShardMaker
from solvers.contract import BatchedSolver
from tests.support.launching import run, stage, succeeded

FEW = (
    "experiment=three_body",
    "samples={train: 50, valid: 5, test: 5, test_extrapolation: 0, per_shard: 10}",
    "output.steps=20",
    "solver.accuracy=0.02",
    "storage.max_failed_share=0.9",
)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    succeeded(stage("generate", *FEW, f"run={folder}"))
    return folder / "dataset"


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("data/*/*.hdf5"))}


def test_any_number_of_ranks_makes_the_same_bytes(alone: Path, tmp_path: Path) -> None:
    succeeded(stage("generate", *FEW, f"run={tmp_path}", ranks=3))
    assert shards(tmp_path / "dataset") == shards(alone)
    assert len(shards(alone)) == 7


def test_failed_trajectories_are_left_out_with_their_reasons(alone: Path) -> None:
    manifest = complete_manifest(alone)
    assert 0 < len(manifest.failed) < 60
    assert all("energy" in failure.reason for failure in manifest.failed)
    assert sum(shard.trajectories for shard in manifest.shards) + len(manifest.failed) == 60
    card = (alone / "README.md").read_text()
    assert card.count("- trajectory ") == min(len(manifest.failed), 10)
    assert (f"and {len(manifest.failed) - 10} more" in card) is (len(manifest.failed) > 10)
    for receipt in receipts_of(alone, manifest):
        assert len(receipt.indices) == receipt.trajectories == 10 - len(receipt.failed) or receipt.drawn == 5


def test_the_data_pass_their_validation_and_are_read(alone: Path) -> None:
    succeeded(stage("validate", *FEW, f"run={alone.parent}"))
    dataset = Dataset.open(alone)
    assert dataset.spec.channels == ("position_x", "position_y", "velocity_x", "velocity_y")
    trajectory = dataset.trajectory("train", 0)
    assert trajectory.state.shape == (21, 4, 3)
    assert np.all(trajectory.state[0, 2:] == 0)
    np.testing.assert_allclose(trajectory.state[:, :2].sum(axis=2), 0, atol=1e-6)


def test_together_or_frame_by_frame_a_shard_has_the_same_bytes(tmp_path: Path) -> None:
    options = yaml.safe_load((Path(configs.__path__[0]) / "solver" / "nbody.yaml").read_text())
    solver = build_solver(options | {"accuracy": 0.02}, MPI.COMM_SELF)
    assert isinstance(solver, BatchedSolver)
    # 25 trajectories of so many frames fill more than one batch.
    header = Header(solver.spec, np.linspace(0, 3.9, 4001), "float32", {}, {})
    assert solves_batches(solver)
    assert BATCH_BYTES < 25 * 4001 * 4 * 3 * 4
    shard = Shard("train", 0, index("train", 0), 25)
    receipts = []
    for name in ("together", "alone"):
        maker = ShardMaker(solver, header, tmp_path / name, "hash", seed=0, tick=lambda: None)
        if name == "alone":
            maker._fill = FrameFiller(solver, header, 0, lambda: None).fill
        receipts.append(maker.make(shard))
    assert shards(tmp_path / "together") == shards(tmp_path / "alone")
    together, one_by_one = receipts
    assert together.failed == one_by_one.failed
    assert 0 < len(together.failed) < 25
    for kind, statistics in together.statistics.items():
        for name, values in statistics.items():
            np.testing.assert_allclose(values, one_by_one.statistics[kind][name], rtol=1e-10, atol=1e-12)


def test_more_trajectories_take_no_more_memory(tmp_path: Path) -> None:
    peaks = []
    for count in (500, 5000):
        overrides = (
            "experiment=two_body",
            f"samples={{train: {count}, valid: 1, test: 1, test_extrapolation: 0, per_shard: 500}}",
            "output={duration: 2.0, steps: 50}",
            f"run={tmp_path}/{count}",
        )
        done = succeeded(
            run(
                [sys.executable, "-m", "tests.support.peak_memory", *overrides], cwd=Path(__file__).parents[2]
            )
        )
        peaks.append(int(done.stdout.split()[-1]))
    few, many = peaks
    written = sum(map(len, shards(tmp_path / "5000" / "dataset").values()))
    assert written > 8 * 2**20
    assert many - few < 8
