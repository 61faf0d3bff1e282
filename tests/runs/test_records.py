"""Records of the attempts at a stage, with outcome, configuration and versions."""

import json
from pathlib import Path

import pytest

from tests.faults.driving import run_drift
from tests.support.launching import require_success


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records")
    assert run_drift("generate", folder, fault="raises:1:2", ranks=2).returncode != 0
    require_success(run_drift("generate", folder, ranks=2))
    (folder / "records" / "generate-000.json").rename(folder / "first.json")
    require_success(run_drift("generate", folder))
    return folder


def test_the_record_names_the_failure_of_any_rank(run: Path) -> None:
    record = json.loads((run / "first.json").read_text())
    assert record["outcome"] == "failed"
    assert record["reason"].startswith("rank 1: ")
    assert record["ended"] >= record["started"]


def test_a_complete_attempt_names_versions_ranks_and_the_mpi_library(run: Path) -> None:
    record = json.loads((run / "records" / "generate-001.json").read_text())
    assert record["outcome"] == "complete"
    assert record["ranks"] == 2
    assert "MPI" in record["mpi_library"]
    assert record["versions"]["numpy"][0].isdigit()
    assert record["configuration"]["samples"]["train"] == 4


def test_a_new_record_never_replaces_another_record(run: Path) -> None:
    records = sorted(path.name for path in (run / "records").iterdir())
    assert records == ["generate-001.json", "generate-002.json"]
