"""Output that cannot be printed: a stage does its work and succeeds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.driving import ROOT, SMALL_DATASET, STAGE, run_drift_in_process
from tests.support import launching

TINY_TRAINING = (
    "surrogate.width=4",
    "surrogate.modes=2",
    "training.steps=2",
    "training.warmup_steps=1",
    "training.validate_every=1",
    "training.checkpoint_every=1",
)
#: A program that prints through the streams of a stage, and then writes a file.
PROGRAM = """
import sys
from pathlib import Path
from rich.console import Console
from tqdm import tqdm
from pipeline import cli

def work():
    for _ in range(3):
        print("step \\xb7 \\N{NABLA}" * 10_000, flush=True)
        Console().print("table \\N{BOX DRAWINGS LIGHT HORIZONTAL}")
        tqdm.write("log line \\xb7")
        sys.stdout.flush()
        print("warning \\xb7", file=sys.stderr, flush=True)
    Path(sys.argv[1]).write_text("done")

cli.exit_on_error(work)
"""


@pytest.mark.parametrize(
    "redirection", ["| true", "> /dev/full", ">&-", "> /dev/full 2> /dev/full", ">&- 2>&-", ""]
)
@pytest.mark.fault(
    "the output of a stage cannot be written",
    cause="closed or full standard output ({redirection})",
    result="the work ends as usual",
    lost="the output",
)
def test_lost_output_does_not_end_the_work(redirection: str, tmp_path: Path) -> None:
    program, file = tmp_path / "program.py", tmp_path / "file"
    program.write_text(PROGRAM)
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f'"$0" "$@" {redirection}', sys.executable, str(program), str(file)],
        env=launching.environment(LC_ALL="C", PYTHONIOENCODING="ascii", PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert file.read_text() == "done"
    assert "Error" not in result.stderr
    if not redirection:
        assert "\\xb7" in result.stdout


def test_a_stage_whose_log_is_on_a_full_disk_completes(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full_log:
        command = [sys.executable, *STAGE, "generate", "none", f"run={tmp_path}", *SMALL_DATASET]
        exit_code = subprocess.call(
            command, cwd=ROOT, env=launching.environment(), stdout=full_log, stderr=full_log, timeout=120
        )
    assert exit_code == 0
    assert (tmp_path / "dataset" / "README.md").is_file()
    assert os.path.getsize(tmp_path / "records" / "generate-000.json") > 0


def test_a_training_without_a_reader_and_an_evaluation_in_ascii_complete(tmp_path: Path) -> None:
    for stage in ("generate", "validate"):
        run_drift_in_process(stage, tmp_path)
    for stage, redirection in (("train", "| true"), ("evaluate", f"> {tmp_path}/ascii.txt")):
        command = [sys.executable, *STAGE, stage, "none", f"run={tmp_path}", *SMALL_DATASET, *TINY_TRAINING]
        result = subprocess.run(
            ["bash", "-o", "pipefail", "-c", f'"$0" "$@" {redirection}', *command],
            cwd=ROOT,
            env=launching.environment(LC_ALL="C", PYTHONIOENCODING="ascii"),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        assert json.loads((tmp_path / "records" / f"{stage}-000.json").read_text())["outcome"] == "complete"
    assert (tmp_path / "models" / "fno" / "evaluation" / "report.html").is_file()
    assert "evaluate: wrote" in (tmp_path / "ascii.txt").read_text(encoding="ascii")
