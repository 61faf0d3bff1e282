"""The train stage on a real data set: it learns, resumes exactly, and refuses what is not its own."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import surrogates
from pipeline import train
from pipeline.config.settings import Training
from pipeline.data.dataset import Dataset
from pipeline.parallel.stopping import StoppedError
from pipeline.training import checkpoint, loop
from pipeline.training.device import precision
from pipeline.training.step import Model
from pipeline.training.train_state import TrainState
from surrogates import store
from surrogates.contract import Batch
from tests.support import problems
from tests.support.launching import mpi, run, stage, succeeded
from tests.support.training_cases import TINY, made_dataset, read, same, trained

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def undisturbed(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of one rank, trained in a process of its own."""
    folder = tmp_path_factory.mktemp("undisturbed")
    succeeded(stage("train", f"run={folder}", f"dataset={dataset}", *TINY))
    return folder / "models" / "fno"


def test_leaves_a_model_a_log_and_the_last_checkpoints(undisturbed: Path, dataset: Path) -> None:
    assert sorted(path.name for path in undisturbed.iterdir()) == [
        "checkpoints",
        "curves.png",
        "log.csv",
        "model.json",
        "model.safetensors",
        "timing.csv",
    ]
    assert [checkpoint.load(path).step for path in checkpoint.paths(undisturbed / "checkpoints")] == [
        20,
        25,
        30,
    ]
    assert (undisturbed / "curves.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((undisturbed / "log.csv").open()))
    assert [int(row["step"]) for row in rows] == [10, 20, 30]
    described = json.loads((undisturbed / "model.json").read_text())
    assert described["valid_error"] == min(float(row["valid_error"]) for row in rows)
    assert described["configuration"]["dataset"] == Dataset.open(dataset).identity
    record = json.loads(next((undisturbed.parents[1] / "records").glob("train-*.json")).read_text())
    assert record["outcome"] == "complete"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["fno", "unet"])
def test_learns(name: str, dataset: Path, tmp_path: Path) -> None:
    """The roll-out on the valid split: far below the error of the state staying as it is."""
    options = {"fno": ("surrogate.width=16", "surrogate.modes=10"), "unet": ("surrogate.width=12",)}[name]
    length = ("training.steps=400", "training.validate_every=200", "training.checkpoint_every=400")
    sizes = [override for override in TINY if not override.startswith("surrogate.")]
    settings = read(f"surrogate={name}", f"run={tmp_path}", f"dataset={dataset}", *sizes, *options, *length)
    train.run(settings)
    data, model = Dataset.open(dataset), surrogates.load(settings.model_folder)
    learned, persisted = [], []
    for number in range(data.num_trajectories("valid")):
        truth = data.trajectory("valid", number)
        named = dict(zip(data.coefficients, truth.coefficients, strict=True)) | truth.parameters
        final = model.predict(truth.state[None, 0], named, truth.time).mean[0, -1].numpy()
        learned.append(np.linalg.norm(final - truth.state[-1]))
        persisted.append(np.linalg.norm(truth.state[0] - truth.state[-1]))
    assert np.mean(learned) < np.mean(persisted) / 4


@pytest.mark.parametrize("ranks", [1, 2])
def test_killed_and_resumed_gives_the_same_bits(
    ranks: int, dataset: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """Killed in step 18, resumed from 15; killed again in step 23, resumed from 20."""
    arguments = [f"run={tmp_path}", f"dataset={dataset}", *TINY]
    killed = mpi(ranks, "-m", "tests.faults.train_killed", *arguments)
    for step in ("18", "8"):
        assert run(killed, KILL_AT_STEP=step).returncode != 0
    folder = tmp_path / "models" / "fno"
    assert not (folder / "model.json").exists()
    assert [checkpoint.load(path).step for path in checkpoint.paths(folder / "checkpoints")] == [10, 15, 20]
    succeeded(stage("train", *arguments, ranks=ranks))
    if ranks == 1:
        assert same(folder, undisturbed)
        return
    straight = tmp_path / "straight"
    succeeded(stage("train", f"run={straight}", *arguments[1:], ranks=2))
    assert same(folder, straight / "models" / "fno")


def test_losses_of_a_stopped_run_count_once(
    dataset: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped at step 13, resumed, ended at step 18 by an error, and resumed from step 15."""
    usual, disturbances = loop.train_step, {12, 18}

    def disturbed(
        model: Model, parts: Iterable[Batch], state: TrainState, options: Training
    ) -> tuple[float, float]:
        found = usual(model, parts, state, options)
        if state.step in disturbances:
            disturbances.remove(state.step)
            if state.step == 18:
                raise RuntimeError("power is gone")
            os.kill(os.getpid(), signal.SIGUSR1)
        return found

    monkeypatch.setattr(loop, "train_step", disturbed)
    with pytest.raises(StoppedError, match="step 13 of 30"):
        trained(tmp_path, dataset)
    with pytest.raises(RuntimeError, match="power"):
        trained(tmp_path, dataset)
    assert same(trained(tmp_path, dataset), undisturbed)


def test_torchrun_and_mpirun_train_the_same(dataset: Path, tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    folders = [tmp_path / name for name in ("torchrun", "mpirun")]
    for folder, start in zip(folders, (torchrun, mpi(2, "-m")), strict=True):
        succeeded(run([*start, "pipeline.train", f"run={folder}", f"dataset={dataset}", *TINY]))
    assert same(folders[0] / "models" / "fno", folders[1] / "models" / "fno")


def test_goes_on_with_another_number_of_ranks(dataset: Path, undisturbed: Path, tmp_path: Path) -> None:
    """From two to one to two. The same global batches: the loss goes on as on one rank, to round-off."""
    arguments = [f"run={tmp_path}", f"dataset={dataset}", *TINY]
    for ranks, step in ((2, "8"), (1, "18")):
        killed = mpi(ranks, "-m", "tests.faults.train_killed", *arguments)
        assert run(killed, KILL_AT_STEP=step).returncode != 0
    succeeded(stage("train", *arguments, ranks=2))
    ours, theirs = (
        np.loadtxt(folder / "log.csv", delimiter=",", skiprows=1)
        for folder in (tmp_path / "models" / "fno", undisturbed)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)


@pytest.fixture
def copied(undisturbed: Path, tmp_path: Path) -> Path:
    """A run folder that was trained to step 30, without the model it ended with."""
    shutil.copytree(undisturbed, tmp_path / "models" / "fno")
    for name in ("model.json", "model.safetensors"):
        (tmp_path / "models" / "fno" / name).unlink()
    return tmp_path


@pytest.mark.parametrize("count", [1, 2])
def test_damaged_checkpoints_are_left_for_the_one_before(
    count: int, copied: Path, dataset: Path, undisturbed: Path
) -> None:
    bad = checkpoint.paths(copied / "models" / "fno" / "checkpoints")[-count:]
    for path in bad:
        path.write_bytes(path.read_bytes()[:-1000])
    with pytest.warns(UserWarning, match="damaged") as caught:
        folder = trained(copied, dataset)
    said = "".join(str(warning.message) for warning in caught)
    assert all(str(path) in said for path in bad)
    assert same(folder, undisturbed)


def test_where_all_checkpoints_are_damaged_nothing_is_trained(copied: Path, dataset: Path) -> None:
    folder = copied / "models" / "fno"
    for path in checkpoint.paths(folder / "checkpoints"):
        path.write_bytes(b"")
    result = stage("train", f"run={copied}", f"dataset={dataset}", *TINY)
    assert result.returncode == 2
    assert "all 3 checkpoints" in result.stderr
    assert "start_anew=true" in result.stderr
    assert all(path.stat().st_size == 0 for path in checkpoint.paths(folder / "checkpoints"))
    assert not (folder / "model.json").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


@NEEDS_ROOT
def test_a_full_disk_keeps_the_checkpoints_and_what_is_left_is_trained_later(
    small_disk: Path, dataset: Path, undisturbed: Path
) -> None:
    """There is room for one checkpoint and a half."""
    size = checkpoint.paths(undisturbed / "checkpoints")[0].stat().st_size
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - int(1.5 * size) - 16_000))
    arguments = [f"run={small_disk}", f"dataset={dataset}", *TINY]
    result = stage("train", *arguments)
    folder = small_disk / "models" / "fno"
    assert result.returncode == 2, result.stderr
    assert f"bytes of {folder / 'checkpoints' / 'step-000000010.safetensors'}: No space" in result.stderr
    assert "run the same command again" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(small_disk.rglob("*.partial"))
    assert [checkpoint.load(path).step for path in checkpoint.paths(folder / "checkpoints")] == [5]
    ballast.unlink()
    succeeded(stage("train", *arguments))
    assert same(folder, undisturbed)


def test_a_lost_log_is_written_again(copied: Path, dataset: Path, undisturbed: Path) -> None:
    folder = copied / "models" / "fno"
    (folder / "log.csv").write_text("step,learning_rate,tra")
    assert same(trained(copied, dataset), undisturbed)


def test_a_complete_model_is_left_alone(
    undisturbed: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(undisturbed, tmp_path / "models" / "fno")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    trained(tmp_path, dataset, "training.checkpoint_every=7")
    assert "already" in capsys.readouterr().out
    record = json.loads((tmp_path / "records" / "train-000.json").read_text())
    assert (record["outcome"], record["skipped"]) == ("complete", True)
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize("ending", ["model", "checkpoints"])
def test_another_configuration_is_refused_by_name_and_made_anew_on_request(
    ending: str, copied: Path, undisturbed: Path, dataset: Path
) -> None:
    folder = copied / "models" / "fno"
    if ending == "model":
        shutil.copytree(undisturbed, folder, dirs_exist_ok=True)
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    with pytest.raises(ValueError, match=r"surrogate\.width: 8 -> 6 .*start_anew=true"):
        trained(copied, dataset, "surrogate.width=6")
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before
    trained(copied, dataset, "surrogate.width=6", "training.steps=10", "start_anew=true")
    assert surrogates.load(folder).problem.spec.shape == (24,)
    assert [checkpoint.load(path).step for path in checkpoint.paths(folder / "checkpoints")] == [5, 10]


def test_another_data_set_is_refused_by_its_identity(
    copied: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = made_dataset(tmp_path_factory.mktemp("other"), "seed=1")
    result = stage("train", f"run={copied}", f"dataset={other}", *TINY, ranks=2)
    assert result.returncode != 0
    theirs, ours = Dataset.open(dataset).identity, Dataset.open(other).identity
    assert f'dataset: "{theirs}" -> "{ours}"' in result.stderr
    assert "start_anew=true" in result.stderr
    assert not (copied / "models" / "fno" / "model.json").exists()


def test_a_data_set_that_was_not_validated_is_refused(dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "dataset")
    (tmp_path / "dataset" / "validation.json").unlink()
    with pytest.raises(ValueError, match="not validated"):
        trained(tmp_path, tmp_path / "dataset")
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("surrogate.modes=13", "modes=13 .* 24 cells resolve 1 to 12"),
        ("training.unroll=7", "at most 6 steps"),
        ("training.device=cuda", "no such device"),
        ("training.learning_rate=1e20", "norm is nan.*lower training.learning_rate=1e\\+20"),
    ],
)
def test_what_cannot_work_is_refused(override: str, said: str, dataset: Path, tmp_path: Path) -> None:
    if "cuda" in override and torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(ValueError, match=said):
        trained(tmp_path, dataset, override)
    assert not (tmp_path / "models" / "fno" / "model.json").exists()


def test_a_batch_that_does_not_fit_the_ranks_ends_all_of_them(dataset: Path, tmp_path: Path) -> None:
    arguments = [f"run={tmp_path}", f"dataset={dataset}", *TINY, "training.batch_size=5"]
    result = stage("train", *arguments, ranks=2, timeout=120)
    assert result.returncode != 0
    assert "start with one of 1, 5 ranks" in result.stderr


def test_float64_trains_and_is_kept_in_float64(dataset: Path, tmp_path: Path) -> None:
    folder = trained(tmp_path, dataset, "training.precision=float64", "training.unroll=3", "training.steps=4")
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float64}
    assert next(surrogates.load(folder).parameters()).dtype == torch.float64


def test_mixed_precision_trains_where_the_device_has_it(dataset: Path, tmp_path: Path) -> None:
    try:
        precision.check_device("bfloat16", torch.device("cpu"))
    except ValueError:
        with pytest.raises(ValueError, match="no bfloat16 arithmetic"):
            trained(tmp_path, dataset, "training.precision=bfloat16")
        return
    given = ("training.precision=bfloat16", "training.steps=4")
    succeeded(stage("train", f"run={tmp_path}", f"dataset={dataset}", *TINY, *given, ranks=2))
    weights = safetensors.torch.load_file(tmp_path / "models" / "fno" / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    found = json.loads((tmp_path / "records" / "train-000.json").read_text())["bfloat16_errors"]
    assert found.keys() == {"loss", "gradient"}
    assert 0 < min(found.values()) <= max(found.values()) < 0.02


def test_tensorboard_gets_the_rows_of_the_log(dataset: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = trained(tmp_path, dataset, "training.tensorboard=true", "training.steps=20")
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    rows = list(csv.DictReader((folder / "log.csv").open()))
    shown = [(event.step, event.value) for event in events.Scalars("valid_error")]
    assert [step for step, _ in shown] == [10, 20]
    assert [value for _, value in shown] == pytest.approx([float(row["valid_error"]) for row in rows])


@pytest.mark.parametrize("first", [math.nan, math.inf])
def test_weights_that_diverge_are_the_best_only_until_others_do_not(first: float) -> None:
    problem = problems.problem((20,), ("periodic",))
    surrogate = store.build("fno", problems.options("fno"), problem, "float32")
    state = TrainState(surrogate, torch.optim.AdamW(surrogate.parameters()))
    bests = []
    for step, error in enumerate((first, math.nan, 0.5, math.nan, 0.7), start=1):
        state.step = step
        state.add_validation(error, read().training)
        bests.append((state.best_step, state.best_error))
    assert bests == [(1, math.inf), (1, math.inf), (3, 0.5), (3, 0.5), (3, 0.5)]
