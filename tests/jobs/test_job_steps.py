"""The launcher inside a job: the launch command, and the return of the job to the queue."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from pipeline.jobs import local
from pipeline.jobs.slurm import requeue
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
