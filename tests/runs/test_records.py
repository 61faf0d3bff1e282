"""Records of the attempts at a stage, with outcome, configuration and versions."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from pipeline.runs import records
from pipeline.runs.folder import RunFolder
from pipeline.runs.liveness import process_identity
from tests.faults.driving import run_drift, run_drift_in_process
from tests.support.launching import require_success
from tests.support.launching import run as run_command

#: The number of the user and the group `nobody`.
NOBODY = 65534


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
    assert record["cores"] >= 2
    assert record["core_hours"] > 0
    assert "MPI" in record["mpi_library"]
    assert record["versions"]["numpy"][0].isdigit()
    assert record["configuration"]["samples"]["train"] == 4


@pytest.mark.fault(
    "a record says running after a kill",
    cause="SIGKILL to a stage",
    result="the next attempt marks the record",
    lost="nothing",
)
def test_the_next_attempt_marks_a_killed_attempt(tmp_path: Path) -> None:
    assert run_drift("generate", tmp_path, fault="kill:0:2").returncode == -signal.SIGKILL
    first_path = tmp_path / "records" / "generate-000.json"
    record = json.loads(first_path.read_text())
    assert record["outcome"] == "running"
    (attempt,) = records.of_stage(tmp_path, "generate")
    assert attempt["outcome"] == "killed"
    (first_path.parent / "generate-notes.json").write_text("notes of a user")
    run_drift_in_process("generate", tmp_path)
    record = json.loads(first_path.read_text())
    assert record["outcome"] == "killed"
    assert record["reason"].startswith(f"process {record['process']} on {record['host']} ended without")
    assert [attempt["outcome"] for attempt in records.of_stage(tmp_path, "generate")] == [
        "killed",
        "complete",
    ]


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="only root can hide processes")
def test_a_process_that_the_system_hides_is_not_dead() -> None:
    program = (
        "import json, os, sys; from pipeline.runs.liveness import is_dead, process_identity; "
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY}); own = process_identity(); "
        "print(is_dead(json.loads(sys.argv[1])), is_dead(own), is_dead(own | {'process_start': '1'}))"
    )
    command = [sys.executable, "-c", program, json.dumps(process_identity())]
    hide = 'mount -t proc -o hidepid=2 proc /proc && exec "$@"'
    result = require_success(run_command(["unshare", "--mount", "sh", "-c", hide, "sh", *command]))
    assert result.stdout.split() == ["False", "False", "True"]


def test_a_running_attempt_is_not_marked(tmp_path: Path) -> None:
    for boot, outcome in ((None, "running"), ("an earlier boot", "killed")):
        identity = process_identity() | ({"boot": boot} if boot else {})
        (tmp_path / "records").mkdir(exist_ok=True)
        (tmp_path / "records" / "train-1000.json").write_text(json.dumps(identity | {"outcome": "running"}))
        assert [attempt["outcome"] for attempt in records.of_stage(tmp_path, "train")] == [outcome]
    (tmp_path / "records" / "train-999.json").write_text(json.dumps({"outcome": "complete"}))
    assert [attempt["outcome"] for attempt in records.of_stage(tmp_path, "train")] == ["complete", "killed"]


def test_the_record_keeps_the_first_failure_of_two_ranks(tmp_path: Path) -> None:
    def fail(error: Exception, inner: Callable[[], None] | None = None) -> None:
        with records.run_record("train", RunFolder.at(tmp_path), {"seed": 0}):
            if inner is not None:
                inner()
            raise error

    def fail_on_rank_1() -> None:
        with (
            mock.patch.dict(os.environ, {"RANK": "1", "WORLD_SIZE": "2"}),
            pytest.raises(ValueError, match="NaN"),
        ):
            fail(ValueError("the loss is NaN"))

    with pytest.raises(RuntimeError, match="closed"):
        fail(RuntimeError("gloo: connection closed by peer"), fail_on_rank_1)
    record = json.loads((tmp_path / "records" / "train-000.json").read_text())
    assert (record["outcome"], record["reason"]) == ("failed", "rank 1: ValueError: the loss is NaN")


def test_a_new_record_never_replaces_another_record(run: Path) -> None:
    names = sorted(path.name for path in (run / "records").iterdir())
    assert names == ["generate-001.json", "generate-002.json"]


def test_the_first_progress_is_in_the_record_at_once(tmp_path: Path) -> None:
    with records.run_record("generate", RunFolder.at(tmp_path), {}) as metadata:
        for done in (0, 2):
            metadata.progress(done, 8, "trajectories")
        record = json.loads((tmp_path / "records" / "generate-000.json").read_text())
    assert record["progress"] == {"start": 0, "done": 2, "total": 8, "unit": "trajectories"}
