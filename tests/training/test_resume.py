"""Interrupted trainings: kills, stops, failures and damaged checkpoints do not change the final bits."""

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
from tests.support.launching import forked_mpi_command, require_success, run
from tests.support.trainings.training_cases import are_identical, tiny_arguments, train_model, train_together

PROGRAM = ("-m", "tests.faults.train_killed")
#: All options of training at once. The poisoned data make some gradients not finite.
ALL_OPTIONS = (
    "training.schedule=linear",
    "training.noise=0.05",
    "training.ema=0.9",
    "training.gradient_accumulation_steps=2",
    "training.unroll=2",
)


def kill(command: list[str], step: int) -> None:
    """Run a training whose ranks receive SIGKILL in an optimiser step of this attempt."""
    assert run(command, KILL_AT_STEP=str(step)).returncode != 0


def log_of(folder: Path) -> np.ndarray:
    return np.loadtxt(folder / "log.csv", delimiter=",", skiprows=1, ndmin=2)


def steps_of(folder: Path) -> list[int]:
    return [checkpoint.load(path).step for path in checkpoint.paths(folder / "checkpoints")]


@pytest.mark.fault(
    "training dies twice",
    cause="SIGKILL in steps 18 and 23 of 30",
    result="the weights of an undisturbed run, bit for bit",
    lost="the steps since the last checkpoint",
)
def test_a_run_that_is_killed_twice_resumes_exactly(
    dataset: Path, undisturbed_model: Path, tmp_path: Path
) -> None:
    """Kill in step 18, resume from step 15, kill in step 23, and resume from step 20."""
    for step in (18, 8):
        kill([sys.executable, *PROGRAM, *tiny_arguments(tmp_path, dataset)], step)
    folder = tmp_path / "models" / "fno"
    assert not (folder / "model.json").exists()
    assert steps_of(folder) == [10, 15, 20]
    assert are_identical(train_model(tmp_path, dataset), undisturbed_model)


@pytest.fixture(scope="module")
def runs_on_two_ranks(
    dataset: Path, poisoned_dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a folder of runs on two ranks: `plain` and `all_options`, with and without a kill in step 18.

    The run `other_ranks` starts on two ranks, continues on one rank to step 23, and ends on two ranks.
    """
    folder = tmp_path_factory.mktemp("two_ranks")
    cases = {
        "plain": tiny_arguments(folder, dataset)[1:],
        "all_options": tiny_arguments(folder, poisoned_dataset, *ALL_OPTIONS)[1:],
    }
    for name, arguments in cases.items():
        kill(forked_mpi_command(2, *PROGRAM, f"run={folder / name}", *arguments), 18)
    shutil.copytree(folder / "plain", folder / "other_ranks")
    kill([sys.executable, *PROGRAM, *tiny_arguments(folder / "other_ranks", dataset)], 8)
    assert steps_of(folder / "other_ranks" / "models" / "fno") == [10, 15, 20]
    runs = [
        [f"run={folder / name}{suffix}", *arguments]
        for name, arguments in cases.items()
        for suffix in ("", "_uninterrupted")
    ]
    train_together(folder / "runs.json", [*runs, tiny_arguments(folder / "other_ranks", dataset)])
    return folder


@pytest.mark.parametrize("name", ["plain", "all_options"])
@pytest.mark.fault(
    "training on 2 ranks dies",
    cause="SIGKILL in step 18 of 30 ({name})",
    result="the weights of an undisturbed run, bit for bit",
    lost="the steps since the last checkpoint",
)
def test_two_ranks_that_are_killed_resume_exactly(runs_on_two_ranks: Path, name: str) -> None:
    killed_model, uninterrupted_model = (
        runs_on_two_ranks / run / "models" / "fno" for run in (name, f"{name}_uninterrupted")
    )
    assert are_identical(killed_model, uninterrupted_model)
    skipped_steps = checkpoint.load(checkpoint.paths(uninterrupted_model / "checkpoints")[-1]).metadata[
        "skipped"
    ]
    assert bool(skipped_steps) == (name == "all_options")


@pytest.mark.fault(
    "training continues on another number of ranks",
    cause="SIGKILL on 2 ranks, then on 1 rank, then 2 ranks",
    result="the same batches; the losses agree to 0.1 %",
    lost="the steps since the last checkpoint",
)
def test_a_run_continues_on_another_number_of_ranks(runs_on_two_ranks: Path, undisturbed_model: Path) -> None:
    # The global batches do not depend on the number of ranks, so the losses are equal but for round-off.
    logs = [
        log_of(folder) for folder in (runs_on_two_ranks / "other_ranks" / "models" / "fno", undisturbed_model)
    ]
    np.testing.assert_allclose(*logs, rtol=1e-3)


def test_torchrun_and_mpirun_train_the_same_weights(
    runs_on_two_ranks: Path, dataset: Path, tmp_path: Path
) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    require_success(run([*torchrun, "pipeline.train", *tiny_arguments(tmp_path, dataset)]))
    assert are_identical(
        tmp_path / "models" / "fno", runs_on_two_ranks / "plain_uninterrupted" / "models" / "fno"
    )


def test_all_options_and_skipped_steps_resume_exactly_on_one_rank(
    poisoned_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fail in step 18, and resume from step 15."""
    original_step = loop.train_step

    def failing_step(*arguments: object) -> tuple[float, float]:
        if arguments[2].step == 17:  # type: ignore[attr-defined]
            raise RuntimeError("the power failed")
        return original_step(*arguments)  # type: ignore[arg-type]

    uninterrupted_model = train_model(tmp_path / "uninterrupted", poisoned_dataset, *ALL_OPTIONS)
    monkeypatch.setattr(loop, "train_step", failing_step)
    with pytest.raises(RuntimeError, match="power"):
        train_model(tmp_path / "failed", poisoned_dataset, *ALL_OPTIONS)
    monkeypatch.undo()
    newest_path = checkpoint.paths(tmp_path / "failed" / "models" / "fno" / "checkpoints")[-1]
    assert checkpoint.load(newest_path).metadata["skipped"]
    assert are_identical(
        train_model(tmp_path / "failed", poisoned_dataset, *ALL_OPTIONS), uninterrupted_model
    )


def test_losses_of_a_stopped_run_count_once(
    dataset: Path, undisturbed_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop at step 13, resume, fail at step 18, and resume from step 15."""
    original_step, interrupted_steps = loop.train_step, {12, 18}

    def interrupted_step(
        model: Model, micro_batches: Iterable[Batch], state: TrainState, options: Training
    ) -> tuple[float, float]:
        result = original_step(model, micro_batches, state, options)
        if state.step in interrupted_steps:
            interrupted_steps.remove(state.step)
            if state.step == 18:
                raise RuntimeError("the power failed")
            os.kill(os.getpid(), signal.SIGUSR1)
        return result

    monkeypatch.setattr(loop, "train_step", interrupted_step)
    with pytest.raises(StoppedError, match="step 13 of 30"):
        train_model(tmp_path, dataset)
    with pytest.raises(RuntimeError, match="power"):
        train_model(tmp_path, dataset)
    assert are_identical(train_model(tmp_path, dataset), undisturbed_model)


@pytest.fixture
def unfinished_run(undisturbed_model: Path, tmp_path: Path) -> Path:
    """Return a run folder with all checkpoints up to step 30 and without the final model."""
    shutil.copytree(undisturbed_model, tmp_path / "models" / "fno")
    for name in ("model.json", "model.safetensors"):
        (tmp_path / "models" / "fno" / name).unlink()
    return tmp_path


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.fault(
    "the newest {count} checkpoints are damaged",
    cause="truncated files",
    result="training continues from the newest whole checkpoint to the same weights",
    lost="the steps since that checkpoint",
)
def test_training_resumes_from_the_checkpoint_before_the_damaged_checkpoints(
    count: int, unfinished_run: Path, dataset: Path, undisturbed_model: Path
) -> None:
    damaged_paths = checkpoint.paths(unfinished_run / "models" / "fno" / "checkpoints")[-count:]
    for path in damaged_paths:
        path.write_bytes(path.read_bytes()[:-1000])
    with pytest.warns(UserWarning, match="damaged") as warning_records:
        folder = train_model(unfinished_run, dataset)
    messages = "".join(str(warning.message) for warning in warning_records)
    assert all(str(path) in messages for path in damaged_paths)
    assert are_identical(folder, undisturbed_model)


@pytest.mark.fault(
    "all checkpoints are damaged",
    cause="empty files",
    result="refused; no start from step 0",
    lost="nothing more",
)
def test_nothing_is_trained_if_all_checkpoints_are_damaged(unfinished_run: Path, dataset: Path) -> None:
    folder = unfinished_run / "models" / "fno"
    for path in checkpoint.paths(folder / "checkpoints"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"all 3 checkpoints .* overwrite=true"):
        train_model(unfinished_run, dataset)
    assert all(path.stat().st_size == 0 for path in checkpoint.paths(folder / "checkpoints"))
    assert not (folder / "model.json").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield the folder of a disk of 2 MiB."""
    with mounted_disk(tmp_path, "2m") as disk:
        yield disk


@NEEDS_ROOT
@pytest.mark.fault(
    "the disk is full while train writes",
    cause="tmpfs with room for one and a half checkpoints",
    result="message with the sizes; the checkpoints stay; the next run has the same weights",
    lost="the steps since the last checkpoint",
)
def test_a_full_disk_keeps_the_checkpoints_and_training_continues_later(
    small_disk: Path, dataset: Path, undisturbed_model: Path
) -> None:
    # The disk has room for one and a half checkpoints.
    size = checkpoint.paths(undisturbed_model / "checkpoints")[0].stat().st_size
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - int(1.5 * size) - 16_000))
    folder = small_disk / "models" / "fno"
    with pytest.raises(StorageError) as error_info:
        train_model(small_disk, dataset)
    message = str(error_info.value)
    assert f"bytes of {folder / 'checkpoints' / 'step-000000010.safetensors'}: No space" in message
    assert "run the same command again" in message
    assert not list(small_disk.rglob("*.partial"))
    assert steps_of(folder) == [5]
    ballast.unlink()
    assert are_identical(train_model(small_disk, dataset), undisturbed_model)


def test_a_damaged_log_is_written_again(unfinished_run: Path, dataset: Path, undisturbed_model: Path) -> None:
    (unfinished_run / "models" / "fno" / "log.csv").write_text("step,learning_rate,tra")
    assert are_identical(train_model(unfinished_run, dataset), undisturbed_model)
