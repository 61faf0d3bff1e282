"""Run folders that several users share: locks of a group, and stages in folders that a user may only read."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from pipeline import evaluate
from pipeline.data.card import figures as card_figures
from pipeline.evaluation.report import report
from pipeline.runs import lock
from pipeline.runs.folder import RunFolder
from tests.support.launching import run
from tests.support.trainings.training_cases import (
    generate_dataset,
    read_settings,
    tiny_arguments,
    train_model,
)

ROOT = Path(__file__).parents[2]
NO_FIGURES = "evaluation.figures=0"
#: The stages in one process, because their imports take longer than their work.
STAGES = """
import sys
from pipeline import evaluate, generate, train, validate
from tests.support.in_process import run_command_line
stages, arguments = sys.argv[1].split(), sys.argv[2:]
sys.exit(max(run_command_line(globals()[stage].run, *arguments) for stage in stages))
"""


@pytest.fixture
def group_folder() -> Iterator[Path]:
    """Return a folder that a group may write, below folders that every user may search."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o2775)
    yield folder
    shutil.rmtree(folder)


def test_locks_have_the_rights_of_the_group_of_the_output(group_folder: Path) -> None:
    private_folder = group_folder / "private"
    private_folder.mkdir(mode=0o755)
    for folder, rights in ((group_folder, 0o020), (private_folder, 0)):
        path = folder / "locks" / "train-fno.lock"
        with lock.hold(path):
            assert path.stat().st_mode & 0o022 == rights
            assert path.parent.stat().st_mode & 0o022 == rights
        with lock.wait_for(folder / "locks" / "manifest.lock"):
            assert (folder / "locks" / "manifest.lock").stat().st_mode & 0o022 == rights


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")
@pytest.mark.parametrize("group", [12345, 54321], ids=["member", "stranger"])
@pytest.mark.fault(
    "another user works in a run folder",
    cause="a member of the group, and a stranger",
    result="a member shares the locks; a stranger gets one sentence",
    lost="nothing",
)
def test_members_of_the_group_share_locks_and_others_get_one_sentence(group: int, group_folder: Path) -> None:
    os.chown(group_folder, -1, 12345)
    group_folder.chmod(0o2775)
    path = group_folder / "locks" / "train-fno.lock"
    with lock.hold(path):
        pass
    # A user who may write neither lock nor output needs no lock.
    expected_result = "a lock with a holder" if group == 12345 else "no lock"
    assert as_another_user(group, lambda: lock_of(path)) == expected_result


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")
def test_a_lock_that_the_group_may_not_write_is_refused_with_one_sentence(group_folder: Path) -> None:
    """Locks of earlier releases have the rights 0644."""
    os.chown(group_folder, -1, 12345)
    group_folder.chmod(0o2775)
    path = group_folder / "locks" / "train-fno.lock"
    with lock.hold(path):
        pass
    path.chmod(0o644)
    message = as_another_user(12345, lambda: lock_of(path))
    assert message.startswith(f"StorageError: cannot write {path}: Permission denied. ")
    assert "\n" not in message


def lock_of(path: Path) -> str:
    """Return whether this process holds a lock inside of `lock.hold`."""
    with lock.hold(path):
        return "a lock with a holder" if path.with_suffix(".holder.json").exists() else "no lock"


def as_another_user(group: int, function: Callable[[], str]) -> str:
    """Return the result, or the type and message of the exception, of a function that another user calls."""
    reading_end, writing_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(group)
        os.setuid(23456)
        try:
            text = function()
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(writing_end, text.encode())
        os._exit(0)
    os.close(writing_end)
    os.waitpid(child, 0)
    with open(reading_end, encoding="utf-8") as file:
        return file.read()


@pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None,
    reason="needs setpriv, which drops root's capabilities",
)
def test_a_complete_run_can_be_repeated_and_validated_by_readers(tmp_path: Path) -> None:
    folder, own_folder = tmp_path / "run", tmp_path / "own"
    arguments = tiny_arguments(folder, folder / "dataset", NO_FIGURES)
    with patch.object(card_figures, "draw", return_value=[]), patch.object(report, "parts", return_value=[]):
        dataset = generate_dataset(folder)
        train_model(folder, dataset)
        evaluate.run(read_settings(*arguments))
    paths = [path for path in folder.rglob("*") if path.name != "validation.json"]
    contents = {path: path.read_bytes() for path in paths if path.is_file()}

    def run_as_reader(stages: str, *arguments: str) -> str:
        capabilities = "-dac_override,-dac_read_search"
        prefix = ["setpriv", f"--bounding-set={capabilities}", f"--inh-caps={capabilities}"]
        command = [sys.executable, "-c", STAGES, stages, *arguments]
        result = run([*(prefix if os.geteuid() == 0 else []), *command], timeout=120, cwd=ROOT)
        assert result.returncode == 0, result.stderr
        return result.stdout + result.stderr

    def set_rights(rights: int) -> None:
        for path in (folder, *(path for path in paths if path.is_dir())):
            path.chmod(rights)

    data_options = (
        "solver.extent=[1.0]", "solver.resolution=24", "storage.max_error=0.1",
        "samples={train: 12, valid: 3, test: 4, test_extrapolation: 0, per_shard: 4}",
        "output={steps: 6, duration: 0.06}",
    )  # fmt: skip
    set_rights(0o555)
    try:
        output = run_as_reader("generate validate train evaluate", *arguments, *data_options)
        assert "is complete; skipped" in output
        assert "so the validation is not stored" in output
        assert "holds the trained model of this configuration already" in output
        assert "is complete for this model and data set; nothing to do" in output
        assert output.count("is not writable, so") == 4
        set_rights(0o755)
        (dataset / "validation.json").unlink()
        set_rights(0o555)
        # The reader's own run folder holds the validation, and the training there accepts it.
        own_arguments = tiny_arguments(own_folder, dataset, NO_FIGURES)
        run_as_reader("validate train", *own_arguments)
        assert (own_folder / "validation.json").exists()
        assert (RunFolder.of(read_settings(*own_arguments)).model_folder / "model.json").exists()
    finally:
        set_rights(0o755)
    assert all(path.read_bytes() == content for path, content in contents.items())
