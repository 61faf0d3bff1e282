"""The adopt stage: restart, ranks, values that are left out, and a solver by `solver=`."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from pipeline import adopt, evaluate, train, validate
from pipeline.data.card import figures
from pipeline.data.dataset import Dataset
from simsurrogate.errors import UserError
from simsurrogate.files import sha256_of
from tests.adoption import sources
from tests.support import launching
from tests.support.in_process import generate_in_process, run_command_line, settings_of


def adopt_in_process(run: Path, source: Path, description: str, *overrides: str) -> Path:
    arguments = sources.adopt_overrides(run.parent, source, description)
    with mock.patch.object(figures, "draw", return_value=[]):
        adopt.run(settings_of(run, *arguments, "samples.per_shard=2", *overrides))
    return run / "dataset"


def shards_of(dataset: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in sorted(dataset.glob("data/*/*.hdf5"))}


def test_a_second_run_copies_only_missing_shards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, description = sources.npy(tmp_path)
    dataset = adopt_in_process(tmp_path / "run", source, description)
    before = shards_of(dataset)
    (dataset / "data" / "train" / "train-00001.hdf5").unlink()
    adopt_in_process(tmp_path / "run", source, description)
    assert "copied into 1 of 6 shards" in capsys.readouterr().out
    assert shards_of(dataset) == before
    adopt_in_process(tmp_path / "run", source, description)
    assert "is complete; skipped" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"adopted\.description\.fields\.u\.unit: \"K\" -> \"degC\""):
        adopt_in_process(tmp_path / "run", source, description.replace("K", "degC"))
    np.save(source, sources.HEAT + 1)
    with pytest.raises(UserError, match=r"adopted\.sha256"):
        adopt_in_process(tmp_path / "run", source, description)


def test_two_ranks_copy_the_same_data_set(tmp_path: Path) -> None:
    source, description = sources.npy(tmp_path)
    dataset = adopt_in_process(tmp_path / "run", source, description)
    arguments = sources.adopt_overrides(tmp_path, source, description)
    command = ("-m", "pipeline.adopt", f"run={tmp_path / 'other'}", *arguments, "samples.per_shard=2")
    result = launching.run(launching.mpi_command(2, *command))
    assert result.returncode == 0, result.stderr
    assert shards_of(tmp_path / "other" / "dataset") == shards_of(dataset)


def test_a_trajectory_with_nan_is_left_out_with_its_reason(tmp_path: Path) -> None:
    heat = sources.HEAT.copy()
    heat[3, 2, 1, 1] = np.nan
    source, description = sources.npy(tmp_path)
    np.save(source, heat)
    with pytest.raises(UserError, match=r"1 of 10 trajectories failed"):
        adopt_in_process(tmp_path / "run", source, description)
    assert not json.loads((tmp_path / "run" / "dataset" / "manifest.json").read_text())["complete"]
    dataset = adopt_in_process(tmp_path / "run", source, description, "storage.max_failed_share=0.2")
    (failure,) = json.loads((dataset / "manifest.json").read_text())["failed"]
    assert failure["reason"] == "a field is not finite in float32 at time 0.2"


def test_a_field_that_is_not_conserved_is_refused(tmp_path: Path) -> None:
    source, description = sources.npy(tmp_path)
    text = description.replace("unit: K", "unit: K, conserved: true")
    adopt_in_process(tmp_path / "run", source, text + "symmetries: [shift_x, exchange_xy]\n")
    np.save(source, sources.HEAT + np.arange(sources.FRAMES)[:, None, None])
    with pytest.raises(UserError, match="u is described as conserved, and its mean changes by"):
        adopt_in_process(tmp_path / "other", source, text)
    # A corrected description replaces the failed adoption.
    dataset = adopt_in_process(tmp_path / "other", source, description)
    assert json.loads((dataset / "manifest.json").read_text())["complete"]


def test_uneven_times_are_interpolated(tmp_path: Path) -> None:
    source, description = (
        sources.npy_folder(tmp_path / "arrays") if (tmp_path / "arrays").mkdir() is None else ()
    )
    times = np.array([0.0, 0.1, 0.25, 0.3])
    start = sources.HEAT[:, :1].astype(np.float64)
    np.save(source / "u.npy", start + times[:, None, None] * start)
    np.save(source / "time.npy", times)
    text = description.replace("times: {unit: s}", "times: {unit: s, resample: true}")
    dataset = adopt_in_process(tmp_path / "run", source, text)
    validate.run(settings_of(tmp_path / "run"))
    trajectory = Dataset.open(dataset).trajectory("train", 0)
    even = np.linspace(0, 0.3, 4)
    first = trajectory.state[:1]
    assert np.allclose(trajectory.state, first + even[:, None, None, None] * first)


@pytest.mark.fault(
    "a source changes while it is adopted",
    cause="another program writes the file",
    result="refused before the data set is complete",
    lost="the copies",
)
def test_a_source_that_changes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, description = sources.npy(tmp_path)
    original = adopt._make_shards

    def change_afterwards(*arguments: object) -> int:
        num_made = original(*arguments)  # type: ignore[arg-type]
        np.save(source, sources.HEAT)
        return num_made

    monkeypatch.setattr(adopt, "_make_shards", change_afterwards)
    with pytest.raises(UserError, match="has changed during the adoption"):
        adopt_in_process(tmp_path / "run", source, description)
    assert not json.loads((tmp_path / "run" / "dataset" / "manifest.json").read_text())["complete"]


_HEAT_SOLVER = (
    "solver=heat",
    "solver.extent=[1.0]",
    "solver.resolution=24",
    "storage.max_error=0.1",
)


def test_a_solver_is_taken_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = (
        "samples.train=4",
        "samples.valid=2",
        "samples.test=2",
        "samples.per_shard=2",
        "output.steps=3",
    )
    generated = generate_in_process(tmp_path / "generated", *_HEAT_SOLVER, *samples)
    run = tmp_path / "run"
    dataset = adopt_in_process(run, generated / "data", "")
    assert capsys.readouterr().out
    arguments = f"run={run}"
    assert run_command_line(validate.run, arguments, *_HEAT_SOLVER) == 0
    validation = json.loads((dataset / "validation.json").read_text())
    assert validation["checks"]["recomputed"] == 2
    assert {
        record["check"]
        for record in validation["results"]
        if "has not computed these data" in record["message"]
    } == {"solver", "draws", "redrawn", "steps", "budget", "self_stated_error"}
    training = ("training.steps=2", "training.warmup_steps=1", "training.batch_size=4", "surrogate.modes=2")
    assert run_command_line(train.run, arguments, *training) == 0
    assert run_command_line(evaluate.run, arguments, "evaluation.figures=0") == 0
    assert "Type solver=NAME to compare it with a solver" in capsys.readouterr().out
    assert run_command_line(evaluate.run, arguments, *_HEAT_SOLVER, "evaluation.figures=0") == 0
    metrics = json.loads((run / "models" / "fno" / "evaluation" / "metrics.json").read_text())
    assert metrics["worth"]["speed_up"]["median"] > 0
    assert run_command_line(validate.run, arguments, *_HEAT_SOLVER, "solver.resolution=48") == 2
    assert "solver=heat has shape=(48,), and the adopted data have (24,)" in capsys.readouterr().err
    assert run_command_line(train.run, arguments, "surrogate=pinn") == 2
    assert "was adopted from files without a solver" in capsys.readouterr().err
