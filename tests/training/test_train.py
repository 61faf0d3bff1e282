"""The train stage on a real data set: its files, what it learns, and what it refuses."""

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
from pipeline.training.train_state import TrainState
from surrogates import store
from tests.support import problems
from tests.support.launching import stage, succeeded
from tests.support.training_cases import TINY, generate_dataset, read, train_model, words


def test_a_training_leaves_a_model_a_log_and_the_last_checkpoints(undisturbed: Path, dataset: Path) -> None:
    assert sorted(path.name for path in undisturbed.iterdir()) == [
        "checkpoints",
        "curves.png",
        "log.csv",
        "model.json",
        "model.safetensors",
        "timing.csv",
    ]
    steps = [checkpoint.load(path).step for path in checkpoint.paths(undisturbed / "checkpoints")]
    assert steps == [20, 25, 30]
    assert (undisturbed / "curves.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((undisturbed / "log.csv").open()))
    assert [int(row["step"]) for row in rows] == [10, 20, 30]
    described = json.loads((undisturbed / "model.json").read_text())
    assert described["valid_error"] == min(float(row["valid_error"]) for row in rows)
    assert described["configuration"]["dataset"] == Dataset.open(dataset).identity
    record = json.loads(next((undisturbed.parents[1] / "records").glob("train-*.json")).read_text())
    assert record["outcome"] == "complete"
    assert record["float32_products"] in ("medium", "highest")
    assert torch.get_float32_matmul_precision() == "highest"


def test_the_time_of_a_step_and_the_wait_for_data_are_kept(undisturbed: Path) -> None:
    rows = list(csv.DictReader((undisturbed / "timing.csv").open()))
    assert [float(row["step"]) for row in rows] == [10, 20, 30]
    for row in rows:
        assert float(row["seconds_per_step"]) > 0
        assert 0 < float(row["data_wait_share"]) < 1


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["fno", "unet"])
def test_the_rollout_error_falls_to_a_quarter_of_persistence(
    name: str, dataset: Path, tmp_path: Path
) -> None:
    """The error on the valid split, compared with that of a state that stays as it is."""
    options = {"fno": ("surrogate.width=16", "surrogate.modes=10"), "unet": ("surrogate.width=12",)}[name]
    length = ("training.steps=300", "training.validate_every=150", "training.checkpoint_every=300")
    sizes = [override for override in TINY if not override.startswith("surrogate.")]
    settings = read(f"surrogate={name}", f"run={tmp_path}", f"dataset={dataset}", *sizes, *options, *length)
    train.run(settings)
    data, model = Dataset.open(dataset), surrogates.load(RunFolder.of(settings).model_folder)
    learned, persisted = [], []
    for index in range(data.num_trajectories("valid")):
        truth = data.trajectory("valid", index)
        named = (
            dict(zip(data.spec.coefficient_channels, truth.coefficient_fields, strict=True))
            | truth.parameters
        )
        final = model.predict(truth.state[None, 0], named, truth.time).mean[0, -1].numpy()
        learned.append(np.linalg.norm(final - truth.state[-1]))
        persisted.append(np.linalg.norm(truth.state[0] - truth.state[-1]))
    assert np.mean(learned) < np.mean(persisted) / 4


@pytest.fixture
def copied(undisturbed: Path, tmp_path: Path) -> Path:
    """A copy of the run folder of a complete model."""
    shutil.copytree(undisturbed, tmp_path / "models" / "fno")
    return tmp_path


def without_model(run: Path) -> None:
    """Remove the final model, and keep the checkpoints."""
    for name in ("model.json", "model.safetensors"):
        (run / "models" / "fno" / name).unlink()


def test_a_complete_model_is_left_alone(
    copied: Path, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*.*")}
    train_model(copied, dataset, "training.checkpoint_every=7")
    assert "already" in capsys.readouterr().out
    record = json.loads((copied / "records" / "train-000.json").read_text())
    assert (record["outcome"], record["skipped"]) == ("complete", True)
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize("content", ["model", "checkpoints"])
def test_another_configuration_is_refused_and_replaced_on_request(
    content: str, copied: Path, dataset: Path
) -> None:
    folder = copied / "models" / "fno"
    if content == "checkpoints":
        without_model(copied)
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    with pytest.raises(ValueError, match=r"surrogate\.width: 8 -> 6.*overwrite=true"):
        train_model(copied, dataset, "surrogate.width=6")
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before
    train_model(copied, dataset, "surrogate.width=6", "training.steps=10", "overwrite=true")
    assert surrogates.load(folder).problem.spec.shape == (24,)
    assert [checkpoint.load(path).step for path in checkpoint.paths(folder / "checkpoints")] == [5, 10]


def test_another_data_set_is_refused_by_its_identity_on_all_ranks(
    copied: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    without_model(copied)
    other = generate_dataset(tmp_path_factory.mktemp("other"), "seed=1")
    result = stage("train", *words(copied, other), ranks=2, timeout=120)
    assert result.returncode != 0
    saved, requested = Dataset.open(dataset).identity, Dataset.open(other).identity
    assert f'dataset: "{saved}" -> "{requested}"' in result.stderr
    assert "overwrite=true" in result.stderr
    assert not (copied / "models" / "fno" / "model.json").exists()


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
        ("training.device=cuda", "no such device"),
        ("training.learning_rate=1e20", "norm is nan.*lower training.learning_rate=1e\\+20"),
    ],
)
def test_options_that_cannot_work_are_refused(
    override: str, message: str, dataset: Path, tmp_path: Path
) -> None:
    if "cuda" in override and torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(ValueError, match=message):
        train_model(tmp_path, dataset, override)
    assert not (tmp_path / "models" / "fno" / "model.json").exists()


def test_a_batch_that_does_not_fit_the_ranks_ends_all_of_them(dataset: Path, tmp_path: Path) -> None:
    result = stage("train", *words(tmp_path, dataset, "training.batch_size=5"), ranks=2, timeout=120)
    assert result.returncode != 0
    assert "Start with one of 1, 5 ranks" in " ".join(result.stderr.split())


def test_weights_of_float64_are_saved_in_float64(dataset: Path, tmp_path: Path) -> None:
    folder = train_model(
        tmp_path, dataset, "training.precision=float64", "training.unroll=3", "training.steps=4"
    )
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float64}
    assert next(surrogates.load(folder).parameters()).dtype == torch.float64


def test_mixed_precision_trains_on_a_device_that_has_it(dataset: Path, tmp_path: Path) -> None:
    try:
        precision.check_device("bfloat16", torch.device("cpu"))
    except ValueError:
        with pytest.raises(ValueError, match="no bfloat16 arithmetic"):
            train_model(tmp_path, dataset, "training.precision=bfloat16")
        return
    options = ("training.precision=bfloat16", "training.steps=4")
    succeeded(stage("train", *words(tmp_path, dataset, *options), ranks=2))
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
    shown = [(event.step, event.value) for event in events.Scalars("valid_error")]
    assert [step for step, _ in shown] == [10, 20]
    assert [value for _, value in shown] == pytest.approx([float(row["valid_error"]) for row in rows])


@pytest.mark.parametrize("first", [math.nan, math.inf])
def test_diverging_weights_are_the_best_only_until_others_are_finite(first: float) -> None:
    problem = problems.problem((20,), ("periodic",))
    surrogate = store.build("fno", problems.options("fno"), problem, "float32")
    state = TrainState(surrogate, torch.optim.AdamW(surrogate.parameters()))
    bests = []
    for step, error in enumerate((first, math.nan, 0.5, math.nan, 0.7), start=1):
        state.step = step
        state.add_validation(error, read().training)
        bests.append((state.best_step, state.best_error))
    assert bests == [(1, math.inf), (1, math.inf), (3, 0.5), (3, 0.5), (3, 0.5)]
