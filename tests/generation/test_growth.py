"""A data set that grows: more trajectories of the same configuration, in the same folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.data.dataset import Dataset
from simsurrogate.errors import UserError
from tests.faults.driving import read_generated, run_drift_in_process

FEW = ("samples.train=3", "samples.test_extrapolation=0")
MANY = ("samples.train=7", "samples.test_extrapolation=2")


def test_more_trajectories_keep_the_finished_shards_and_have_the_bytes_of_a_new_data_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, new_run = tmp_path / "run", tmp_path / "new"
    for stage in ("generate", "validate"):
        run_drift_in_process(stage, run, *FEW)
    first_shard = run / "dataset" / "data" / "train" / "train-00000.hdf5"
    modification_time = first_shard.stat().st_mtime_ns
    capsys.readouterr()
    run_drift_in_process("generate", run, *MANY)
    # Shard 1 held one trajectory of two. Two shards of train and one outside are new.
    assert "13 trajectories" in (output := capsys.readouterr().out)
    assert "(4 of 7 shards made now" in output
    assert first_shard.stat().st_mtime_ns == modification_time
    run_drift_in_process("generate", new_run, *MANY)
    assert read_generated(run) == read_generated(new_run)
    with pytest.raises(UserError, match=r"changed after its validation|another data set"):
        Dataset.open(run / "dataset")
    run_drift_in_process("validate", run, *MANY)
    assert Dataset.open(run / "dataset").num_trajectories("train") == 7


def test_fewer_trajectories_and_other_shards_are_refused(tmp_path: Path) -> None:
    run_drift_in_process("generate", tmp_path, *MANY)
    files = read_generated(tmp_path)
    for overrides, change in (
        ((*MANY, "samples.train=6"), r"samples.train: 7 -> 6"),
        ((*MANY, "samples.valid=5", "samples.test=1"), r"samples.test: 2 -> 1"),
        ((*MANY, "samples.train=8", "samples.per_shard=3"), r"samples.per_shard: 2 -> 3"),
    ):
        message = rf"{change}.*only its numbers of trajectories may grow.*overwrite=true"
        with pytest.raises(UserError, match=message):
            run_drift_in_process("generate", tmp_path, *overrides)
    assert read_generated(tmp_path) == files


def test_a_growing_data_set_estimates_its_new_outside_split(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heat = ("solver=heat", "solver.extent=[1.0]", "solver.resolution=24", "storage.max_error=0.1")
    run_drift_in_process("generate", tmp_path, *heat, *FEW)
    assert "test_extrapolation" not in capsys.readouterr().out
    run_drift_in_process("generate", tmp_path, *heat, *MANY)
    assert "; test_extrapolation" in capsys.readouterr().out
