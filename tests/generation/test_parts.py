"""Data sets generated in parts by concurrent processes, compared byte for byte with a single generation."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.driving import ROOT, SMALL_DATASET, STAGE, read_generated, run_drift, run_drift_in_process
from tests.support import launching


def test_a_run_without_part_finishes_concurrent_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_in_parts, run_at_once = tmp_path / "apart", tmp_path / "at once"
    commands = [
        [
            sys.executable,
            *STAGE,
            "generate",
            "none",
            f"run={run_in_parts}",
            *SMALL_DATASET,
            f"part=[{part},3]",
        ]
        for part in range(3)
    ]
    processes = [
        subprocess.Popen(command, env=launching.environment(), cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for command in commands
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    for part, (output, shards) in enumerate(zip(outputs, (2, 2, 1), strict=True)):
        assert f"part {part} of 3: {shards} of {shards} shards made now" in output
    records = [json.loads(path.read_text()) for path in (run_in_parts / "records").glob("generate-*.json")]
    assert sorted(record["configuration"]["part"] for record in records) == [[0, 3], [1, 3], [2, 3]]
    assert json.loads((run_in_parts / "dataset" / "manifest.json").read_text())["complete"] is False
    run_drift_in_process("generate", run_in_parts)
    assert "(0 of 5 shards made now" in capsys.readouterr().out
    run_drift_in_process("generate", run_at_once)
    assert read_generated(run_in_parts) == read_generated(run_at_once)
    run_drift_in_process("generate", run_in_parts, "part=[1,3]")
    assert "part 1 of 3 of the data set" in capsys.readouterr().out


def test_a_part_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    result = run_drift("generate", tmp_path, "part=[3,3]")
    assert result.returncode == 2
    assert "part=" in result.stderr
    assert "parts of 3 are numbered from 0 to 2" in result.stderr
