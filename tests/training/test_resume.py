"""Interrupted trainings: killed, stopped, failed or with damaged checkpoints, they end with the same bits."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.settings import Training
from pipeline.parallel.stopping import StoppedError
from pipeline.training import checkpoint, loop
from pipeline.training.step import Model
from pipeline.training.train_state import TrainState
from simsurrogate.errors import StorageError
from surrogates.contract import Batch
from tests.support.disks import NEEDS_ROOT, mounted_disk
from tests.support.launching import mpi, run, succeeded
from tests.support.training_cases import are_identical, train_model, train_together, words

PROGRAM = ("-m", "tests.faults.train_killed")
#: All ways of training at once, on data that make some gradients not finite.
ALL_WAYS = (
    "training.schedule=linear",
    "training.noise=0.05",
    "training.ema=0.9",
    "training.gradient_accumulation_steps=2",
    "training.unroll=2",
)


def kill(command: list[str], step: int) -> None:
    """Run a training whose ranks get SIGKILL in an optimiser step of this attempt."""
    assert run(command, KILL_AT_STEP=str(step)).returncode != 0


def log_of(folder: Path) -> np.ndarray:
    return np.loadtxt(folder / "log.csv", delimiter=",", skiprows=1, ndmin=2)


def steps_of(folder: Path) -> list[int]:
    return [checkpoint.load(path).step for path in checkpoint.paths(folder / "checkpoints")]


def test_a_run_that_is_killed_twice_resumes_exactly(dataset: Path, undisturbed: Path, tmp_path: Path) -> None:
    """Killed in step 18, resumed from 15; killed again in step 23, resumed from 20."""
    for step in (18, 8):
        kill([sys.executable, *PROGRAM, *words(tmp_path, dataset)], step)
    folder = tmp_path / "models" / "fno"
    assert not (folder / "model.json").exists()
    assert steps_of(folder) == [10, 15, 20]
    assert are_identical(train_model(tmp_path, dataset), undisturbed)


@pytest.fixture(scope="module")
def on_two_ranks(dataset: Path, poisoned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs on two ranks: `plain` and `all_ways`, each resumed after a kill in step 18 and without a kill.

    `other_ranks` was killed on two ranks, went on with one rank to step 23, and ended on two ranks.
    """
    folder = tmp_path_factory.mktemp("two_ranks")
    cases = {"plain": words(folder, dataset)[1:], "all_ways": words(folder, poisoned, *ALL_WAYS)[1:]}
    for name, arguments in cases.items():
        kill(mpi(2, *PROGRAM, f"run={folder / name}", *arguments), 18)
    shutil.copytree(folder / "plain", folder / "other_ranks")
    kill([sys.executable, *PROGRAM, *words(folder / "other_ranks", dataset)], 8)
    assert steps_of(folder / "other_ranks" / "models" / "fno") == [10, 15, 20]
    runs = [
        [f"run={folder / name}{ending}", *arguments]
        for name, arguments in cases.items()
        for ending in ("", "_straight")
    ]
    train_together(folder / "runs.json", [*runs, words(folder / "other_ranks", dataset)])
    return folder


@pytest.mark.parametrize("name", ["plain", "all_ways"])
def test_two_ranks_that_are_killed_resume_exactly(on_two_ranks: Path, name: str) -> None:
    killed, straight = (on_two_ranks / run / "models" / "fno" for run in (name, f"{name}_straight"))
    assert are_identical(killed, straight)
    skipped = checkpoint.load(checkpoint.paths(straight / "checkpoints")[-1]).metadata["skipped"]
    assert bool(skipped) == (name == "all_ways")


def test_a_run_continues_on_another_number_of_ranks(on_two_ranks: Path, undisturbed: Path) -> None:
    """From two to one to two ranks: the same global batches, so the same loss to round-off."""
    logs = [log_of(folder) for folder in (on_two_ranks / "other_ranks" / "models" / "fno", undisturbed)]
    np.testing.assert_allclose(*logs, rtol=1e-3)


def test_torchrun_and_mpirun_train_the_same(on_two_ranks: Path, dataset: Path, tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    succeeded(run([*torchrun, "pipeline.train", *words(tmp_path, dataset)]))
    assert are_identical(tmp_path / "models" / "fno", on_two_ranks / "plain_straight" / "models" / "fno")


def test_all_ways_and_skipped_steps_resume_exactly_on_one_rank(
    poisoned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended by an error in step 18, and resumed from step 15."""
    original = loop.train_step

    def failing(*arguments: object) -> tuple[float, float]:
        if arguments[2].step == 17:  # type: ignore[attr-defined]
            raise RuntimeError("the power is gone")
        return original(*arguments)  # type: ignore[arg-type]

    straight = train_model(tmp_path / "straight", poisoned, *ALL_WAYS)
    monkeypatch.setattr(loop, "train_step", failing)
    with pytest.raises(RuntimeError, match="power"):
        train_model(tmp_path / "failed", poisoned, *ALL_WAYS)
    monkeypatch.undo()
    newest = checkpoint.paths(tmp_path / "failed" / "models" / "fno" / "checkpoints")[-1]
    assert checkpoint.load(newest).metadata["skipped"]
    assert are_identical(train_model(tmp_path / "failed", poisoned, *ALL_WAYS), straight)


def test_losses_of_a_stopped_run_count_once(
    dataset: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped at step 13, resumed, ended at step 18 by an error, and resumed from step 15."""
    original, disturbances = loop.train_step, {12, 18}

    def disturbed(
        model: Model, micro_batches: Iterable[Batch], state: TrainState, options: Training
    ) -> tuple[float, float]:
        result = original(model, micro_batches, state, options)
        if state.step in disturbances:
            disturbances.remove(state.step)
            if state.step == 18:
                raise RuntimeError("the power is gone")
            os.kill(os.getpid(), signal.SIGUSR1)
        return result

    monkeypatch.setattr(loop, "train_step", disturbed)
    with pytest.raises(StoppedError, match="step 13 of 30"):
        train_model(tmp_path, dataset)
    with pytest.raises(RuntimeError, match="power"):
        train_model(tmp_path, dataset)
    assert are_identical(train_model(tmp_path, dataset), undisturbed)


@pytest.fixture
def unfinished(undisturbed: Path, tmp_path: Path) -> Path:
    """A run folder with all checkpoints up to step 30, without the final model."""
    shutil.copytree(undisturbed, tmp_path / "models" / "fno")
    for name in ("model.json", "model.safetensors"):
        (tmp_path / "models" / "fno" / name).unlink()
    return tmp_path


@pytest.mark.parametrize("count", [1, 2])
def test_training_falls_back_to_the_checkpoint_before_the_damaged_ones(
    count: int, unfinished: Path, dataset: Path, undisturbed: Path
) -> None:
    damaged = checkpoint.paths(unfinished / "models" / "fno" / "checkpoints")[-count:]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:-1000])
    with pytest.warns(UserWarning, match="damaged") as warnings:
        folder = train_model(unfinished, dataset)
    messages = "".join(str(warning.message) for warning in warnings)
    assert all(str(path) in messages for path in damaged)
    assert are_identical(folder, undisturbed)


def test_nothing_is_trained_if_all_checkpoints_are_damaged(unfinished: Path, dataset: Path) -> None:
    folder = unfinished / "models" / "fno"
    for path in checkpoint.paths(folder / "checkpoints"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"all 3 checkpoints .* overwrite=true"):
        train_model(unfinished, dataset)
    assert all(path.stat().st_size == 0 for path in checkpoint.paths(folder / "checkpoints"))
    assert not (folder / "model.json").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB."""
    with mounted_disk(tmp_path, "2m") as disk:
        yield disk


@NEEDS_ROOT
def test_a_full_disk_keeps_the_checkpoints_and_training_continues_later(
    small_disk: Path, dataset: Path, undisturbed: Path
) -> None:
    """The disk has room for one checkpoint and a half."""
    size = checkpoint.paths(undisturbed / "checkpoints")[0].stat().st_size
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - int(1.5 * size) - 16_000))
    folder = small_disk / "models" / "fno"
    with pytest.raises(StorageError) as caught:
        train_model(small_disk, dataset)
    message = str(caught.value)
    assert f"bytes of {folder / 'checkpoints' / 'step-000000010.safetensors'}: No space" in message
    assert "run the same command again" in message
    assert not list(small_disk.rglob("*.partial"))
    assert steps_of(folder) == [5]
    ballast.unlink()
    assert are_identical(train_model(small_disk, dataset), undisturbed)


def test_a_damaged_log_is_written_again(unfinished: Path, dataset: Path, undisturbed: Path) -> None:
    (unfinished / "models" / "fno" / "log.csv").write_text("step,learning_rate,tra")
    assert are_identical(train_model(unfinished, dataset), undisturbed)
