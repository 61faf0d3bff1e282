"""The launcher inside a job: the launch command, and the return of the job to the queue."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from pipeline.jobs import local
from pipeline.jobs.slurm import requeue, retries
from pipeline.runs.folder import RunFolder
from simsurrogate.errors import UserError

_ATTEMPT = {"progress": {"start": 2, "done": 5, "total": 9, "unit": "steps"}}


def test_a_job_with_several_ranks_needs_a_launch_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "mpirun" not in local.command("train", [], 2, ["no-such-mpirun"])
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with pytest.raises(UserError, match=r"no-such-mpirun was not found .* the 2 ranks of this job"):
        local.command("train", [], 2, ["no-such-mpirun"])
    assert "pipeline.train" in local.command("train", [], 1, ["no-such-mpirun"])


@pytest.fixture
def controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file with the answers of `scontrol`, one line for each request; an empty line accepts."""
    answers, program = tmp_path / "answers", tmp_path / "scontrol"
    program.write_text(
        f"""#!/bin/sh
echo "$@" >> {tmp_path}/requests
answer=$(sed -n "$(wc -l < {tmp_path}/requests)p" {answers})
echo "$answer" >&2
[ -z "$answer" ]
"""
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(requeue, "_PAUSE_SECONDS", 0.01)
    return answers


def test_a_restarting_controller_is_asked_again(controller: Path, capfd: pytest.CaptureFixture[str]) -> None:
    controller.write_text(2 * "slurm_requeue error: Unable to contact slurm controller\n")
    requeue.requeue("7", "train", _ATTEMPT)
    assert (controller.parent / "requests").read_text() == 3 * "requeue 7\n"
    stdout = capfd.readouterr().out
    assert "train reached 5 of 9 steps: requeued" in stdout
    assert stdout.count("scontrol requeue 7 failed and is repeated: ") == 1


@pytest.mark.parametrize(
    ("message", "seconds"),
    [("Requested operation is presently disabled", 600.0), ("Unable to contact slurm controller", 0.0)],
)
def test_a_refused_requeue_ends_with_the_remedy(
    controller: Path, message: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller.write_text(9 * f"{message}\n")
    monkeypatch.setattr(requeue, "_LONGEST_SECONDS", seconds)
    remedy = "The work up to now is saved. Type `python -m pipeline.chain resume run=FOLDER`"
    with pytest.raises(UserError, match=re.escape(f"scontrol requeue 7 failed: {message}. {remedy}")):
        requeue.requeue("7", "train", _ATTEMPT)
    assert (controller.parent / "requests").read_text() == "requeue 7\n"


@pytest.mark.parametrize(
    ("exit_code", "record", "is_repeatable"),
    [
        (1, {"outcome": "failed", "traceback": "RuntimeError"}, True),
        (137, {"outcome": "killed"}, True),
        (-9, {"outcome": "running"}, True),
        (1, {}, True),
        (0, {"outcome": "running"}, True),
        (0, {}, False),
        (2, {}, False),
        (3, {"outcome": "failed"}, False),
        (1, {"outcome": "failed", "reason": "UserError: the data set fails a check"}, False),
        (143, {"outcome": "running"}, False),
        (-15, {"outcome": "running"}, False),
    ],
)
def test_mistakes_of_the_user_and_cancelled_jobs_are_not_repeated(
    exit_code: int, record: dict[str, str], is_repeatable: bool
) -> None:
    assert retries.is_repeatable(exit_code, record) is is_repeatable


def test_the_retries_of_a_task_are_counted(
    controller: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    controller.write_text("\n\n")
    run = RunFolder.at(tmp_path / "run")
    variables = {"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert retries.start_again(run, "generate", 1, allowed=2)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert retries.start_again(run, "generate", 1, allowed=2)
    assert not retries.start_again(run, "generate", 1, allowed=2)
    assert (retries.count(run, "7_3"), retries.count(run, "7_4")) == (2, 0)
    assert (controller.parent / "requests").read_text() == 2 * "requeue 7_3\n"
    # Slurm has given the number of an old job to a new job.
    monkeypatch.delenv("SLURM_RESTART_COUNT")
    controller.write_text("\n\nRequested operation is presently disabled\n")
    assert not retries.start_again(run, "generate", 1, allowed=2)
    assert retries.count(run, "7_3") == 0
    assert "launcher.retries=2 has no effect on this job. " in capfd.readouterr().err
