"""The results of validate are the same on any number of ranks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.faults.driving import run_drift, run_drift_in_process
from tests.support.launching import require_success

SAMPLES = ("samples.train=16", "samples.valid=3", "samples.test=4")


def test_two_ranks_find_the_results_of_one_rank(tmp_path: Path) -> None:
    run, other_run = tmp_path / "run", tmp_path / "other"
    run_drift_in_process("generate", run, *SAMPLES)
    shutil.copytree(run, other_run)
    run_drift_in_process("validate", run, *SAMPLES)
    require_success(run_drift("validate", other_run, *SAMPLES, ranks=2))
    results, other_results = (
        [
            record | {"subject": Path(record["subject"]).name}
            for record in json.loads((folder / "dataset/validation.json").read_text())["results"]
        ]
        for folder in (run, other_run)
    )
    assert results == other_results
    assert {record["outcome"] for record in results} == {"passed", "not applicable"}
    card = (run / "dataset/README.md").read_text()
    assert "| near_rows | passed |  | trajectories 24," in card
    assert "![checks-parameters](figures/checks-parameters.png)" in card
    # Another validation replaces the section.
    run_drift_in_process("validate", run, *SAMPLES)
    assert (run / "dataset/README.md").read_text() == card
