"""A data set made in parts, side by side, is the one made at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.faults.driving import SMALL as DRIFT
from tests.faults.driving import STAGE, drift, made
from tests.support import launching
from tests.support.launching import succeeded


def test_parts_made_side_by_side_are_finished_by_a_run_without(tmp_path: Path) -> None:
    apart, at_once = tmp_path / "apart", tmp_path / "at once"
    commands = [
        [sys.executable, str(STAGE), "generate", "none", f"run={apart}", *DRIFT, f"part=[{part},3]"]
        for part in range(3)
    ]
    together = [
        subprocess.Popen(command, env=launching.environment(), stdout=subprocess.PIPE, text=True)
        for command in commands
    ]
    said = [process.communicate(timeout=120)[0] for process in together]
    assert [process.returncode for process in together] == [0, 0, 0]
    for part, (text, shards) in enumerate(zip(said, (2, 2, 1), strict=True)):
        assert f"part {part} of 3: {shards} of {shards} shards made now" in text
    records = [json.loads(path.read_text()) for path in (apart / "records").glob("generate-*.json")]
    assert sorted(record["configuration"]["part"] for record in records) == [[0, 3], [1, 3], [2, 3]]
    assert json.loads((apart / "dataset" / "manifest.json").read_text())["complete"] is False
    assert "(0 of 5 shards made now" in succeeded(drift("generate", apart)).stdout
    succeeded(drift("generate", at_once))
    assert made(apart) == made(at_once)
    assert "part 1 of 3 of the data set" in succeeded(drift("generate", apart, "part=[1,3]")).stdout


def test_a_part_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    refused = drift("generate", tmp_path, "part=[3,3]")
    assert refused.returncode == 2
    assert "part=" in refused.stderr
    assert "parts of 3 are numbered from 0 to 2" in refused.stderr
