"""The train stage on a real data set: files, errors of the model, and refusals."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import surrogates
from pipeline import train
from pipeline.data.dataset import Dataset
from pipeline.runs.folder import RunFolder
from pipeline.training import checkpoint
from pipeline.training.device import precision
from pipeline.training.log import Log
from pipeline.training.train_state import TrainState
from surrogates import store
from tests.support import problems
from tests.support.launching import require_success, run_stage
from tests.support.trainings.training_cases import (
    TINY_TRAINING,
    generate_dataset,
    read_settings,
    tiny_arguments,
    train_model,
)


def test_a_training_writes_a_model_a_log_and_the_last_checkpoints(
    undisturbed_model: Path, dataset: Path
) -> None:
    assert sorted(path.name for path in undisturbed_model.iterdir()) == [
        "README.md",
        "checkpoints",
        "curves.png",
        "log.csv",
        "model.json",
        "model.safetensors",
        "timing.csv",
    ]
    steps = [checkpoint.load(path).step for path in checkpoint.paths(undisturbed_model / "checkpoints")]
    assert steps == [20, 25, 30]
    assert (undisturbed_model / "curves.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((undisturbed_model / "log.csv").open()))
    assert [int(row["step"]) for row in rows] == [10, 20, 30]
    description = json.loads((undisturbed_model / "model.json").read_text())
    assert description["valid_error"] == min(float(row["valid_error"]) for row in rows)
    assert description["configuration"]["dataset"] == Dataset.open(dataset).identity
    record = json.loads(next((undisturbed_model.parents[1] / "records").glob("train-*.json")).read_text())
    assert record["outcome"] == "complete"
    assert record["float32_products"] in ("medium", "highest")
    assert torch.get_float32_matmul_precision() == "highest"


def test_the_time_of_a_step_and_the_wait_for_data_are_recorded(undisturbed_model: Path) -> None:
    rows = list(csv.DictReader((undisturbed_model / "timing.csv").open()))
    assert [float(row["step"]) for row in rows] == [10, 20, 30]
    for row in rows:
        assert float(row["seconds_per_step"]) > 0
        assert 0 < float(row["data_wait_share"]) < 1


def test_a_checkpoint_is_written_before_the_line_of_its_step(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved_steps: dict[str, int] = {}

    def report(log: Log, line: str) -> None:
        newest_path = checkpoint.paths(log.folder / "checkpoints")[-1]
        saved_steps[line.partition(":")[0]] = checkpoint.step_of(newest_path)

    monkeypatch.setattr(Log, "report", report)
    train_model(tmp_path, dataset)
    assert saved_steps == {f"step {step}/30": step for step in (10, 20, 30)}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["fno", "unet"])
def test_the_rollout_error_falls_to_a_quarter_of_persistence(
    name: str, dataset: Path, tmp_path: Path
) -> None:
    """Compare the error on the valid split with persistence, which repeats the initial state."""
    options = {"fno": ("surrogate.width=16", "surrogate.modes=10"), "unet": ("surrogate.width=12",)}[name]
    training_length = ("training.steps=300", "training.validate_every=150", "training.checkpoint_every=300")
    sizes = [override for override in TINY_TRAINING if not override.startswith("surrogate.")]
    settings = read_settings(
        f"surrogate={name}", f"run={tmp_path}", f"dataset={dataset}", *sizes, *options, *training_length
    )
    train.run(settings)
    data, model = Dataset.open(dataset), surrogates.load(RunFolder.of(settings).model_folder)
    model_errors, persistence_errors = [], []
    for index in range(data.num_trajectories("valid")):
        truth = data.trajectory("valid", index)
        conditions = (
            dict(zip(data.spec.coefficient_channels, truth.coefficient_fields, strict=True))
            | truth.parameters
        )
        prediction = model.predict(truth.state[None, 0], conditions, truth.time).mean[0, -1].numpy()
        model_errors.append(np.linalg.norm(prediction - truth.state[-1]))
        persistence_errors.append(np.linalg.norm(truth.state[0] - truth.state[-1]))
    assert np.mean(model_errors) < np.mean(persistence_errors) / 4


@pytest.fixture
def copied_run(undisturbed_model: Path, tmp_path: Path) -> Path:
    """Return a copy of the run folder of a complete model."""
    shutil.copytree(undisturbed_model, tmp_path / "models" / "fno")
    return tmp_path


def remove_model(run: Path) -> None:
    """Remove the final model of a run, and keep the checkpoints."""
    for name in ("model.json", "model.safetensors"):
        (run / "models" / "fno" / name).unlink()


def test_a_complete_model_is_not_trained_again(
    copied_run: Path, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times_before = {path: path.stat().st_mtime_ns for path in copied_run.rglob("*.*")}
    train_model(copied_run, dataset, "training.checkpoint_every=7")
    assert "already" in capsys.readouterr().out
    record = json.loads((copied_run / "records" / "train-000.json").read_text())
    assert (record["outcome"], record["skipped"]) == ("complete", True)
    assert {path: path.stat().st_mtime_ns for path in times_before} == times_before


@pytest.mark.parametrize("content", ["model", "checkpoints"])
def test_another_configuration_is_refused_and_replaced_on_request(
    content: str, copied_run: Path, dataset: Path
) -> None:
    folder = copied_run / "models" / "fno"
    if content == "checkpoints":
        remove_model(copied_run)
    content_before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    with pytest.raises(ValueError, match=r"width: 8 -> 6.*Choose another name with model=.*overwrite=true"):
        train_model(copied_run, dataset, "surrogate.width=6")
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == content_before
    train_model(copied_run, dataset, "surrogate.width=6", "training.steps=10", "overwrite=true")
    assert surrogates.load(folder).problem.spec.shape == (24,)
    assert [checkpoint.load(path).step for path in checkpoint.paths(folder / "checkpoints")] == [5, 10]


def test_another_data_set_is_refused_by_its_identity_on_all_ranks(
    copied_run: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    remove_model(copied_run)
    other_dataset = generate_dataset(tmp_path_factory.mktemp("other"), "seed=1")
    result = run_stage("train", *tiny_arguments(copied_run, other_dataset), ranks=2, timeout=120)
    assert result.returncode != 0
    identity, other_identity = Dataset.open(dataset).identity, Dataset.open(other_dataset).identity
    assert f'dataset: "{identity}" -> "{other_identity}"' in result.stderr
    assert "overwrite=true" in result.stderr
    assert not (copied_run / "models" / "fno" / "model.json").exists()


def test_a_data_set_without_validation_is_refused(dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "dataset")
    (tmp_path / "dataset" / "validation.json").unlink()
    with pytest.raises(ValueError, match="not validated"):
        train_model(tmp_path, tmp_path / "dataset")
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("surrogate.modes=13", "modes=13 .* 24 cells resolve 1 to 12"),
        ("training.unroll=7", "training.unroll is at most 6 "),
        ("training.device=cuda", "no CUDA device"),
        ("training.learning_rate=1e20", "norm is nan.*lower training.learning_rate=1e\\+20"),
    ],
)
def test_options_that_cannot_work_are_refused(
    override: str, message: str, dataset: Path, tmp_path: Path
) -> None:
    if "cuda" in override and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(ValueError, match=message):
        train_model(tmp_path, dataset, override)
    assert not (tmp_path / "models" / "fno" / "model.json").exists()


def test_a_batch_that_does_not_fit_the_ranks_ends_all_ranks(dataset: Path, tmp_path: Path) -> None:
    result = run_stage(
        "train", *tiny_arguments(tmp_path, dataset, "training.batch_size=5"), ranks=2, timeout=120
    )
    assert result.returncode != 0
    assert "Start with one of 1, 5 ranks" in " ".join(result.stderr.split())


def test_weights_of_float64_are_saved_in_float64(dataset: Path, tmp_path: Path) -> None:
    folder = train_model(
        tmp_path, dataset, "training.precision=float64", "training.unroll=3", "training.steps=4"
    )
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float64}
    assert next(surrogates.load(folder).parameters()).dtype == torch.float64


def test_mixed_precision_trains_on_a_device_with_bfloat16(dataset: Path, tmp_path: Path) -> None:
    try:
        precision.check_device("bfloat16", torch.device("cpu"))
    except ValueError:
        with pytest.raises(ValueError, match="no bfloat16 arithmetic"):
            train_model(tmp_path, dataset, "training.precision=bfloat16")
        return
    options = ("training.precision=bfloat16", "training.steps=4")
    require_success(run_stage("train", *tiny_arguments(tmp_path, dataset, *options), ranks=2))
    weights = safetensors.torch.load_file(tmp_path / "models" / "fno" / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    errors = json.loads((tmp_path / "records" / "train-000.json").read_text())["bfloat16_errors"]
    assert errors.keys() == {"loss", "gradient"}
    assert 0 < min(errors.values()) <= max(errors.values()) < 0.02


def test_tensorboard_gets_the_rows_of_the_log(dataset: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = train_model(tmp_path, dataset, "training.tensorboard=true", "training.steps=20")
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    rows = list(csv.DictReader((folder / "log.csv").open()))
    tensorboard_values = [(event.step, event.value) for event in events.Scalars("valid_error")]
    assert [step for step, _ in tensorboard_values] == [10, 20]
    assert [value for _, value in tensorboard_values] == pytest.approx(
        [float(row["valid_error"]) for row in rows]
    )


@pytest.mark.parametrize("first_error", [math.nan, math.inf])
def test_diverging_weights_are_the_best_only_until_an_error_is_finite(first_error: float) -> None:
    problem = problems.grid_problem((20,), ("periodic",))
    surrogate = store.build("fno", problems.options("fno"), problem, "float32")
    state = TrainState(surrogate, torch.optim.AdamW(surrogate.parameters()))
    best_steps_and_errors = []
    for step, error in enumerate((first_error, math.nan, 0.5, math.nan, 0.7), start=1):
        state.step = step
        state.add_validation(error, read_settings().training)
        best_steps_and_errors.append((state.best_step, state.best_error))
    assert best_steps_and_errors == [(1, math.inf), (1, math.inf), (3, 0.5), (3, 0.5), (3, 0.5)]
