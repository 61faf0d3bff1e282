"""One command of a user who is not root, on a site with modules, accounts, arrays of few tasks and GPUs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults.driving import read_generated
from tests.jobs.slurm.chains import (
    JOBS,
    final_states,
    job_numbers,
    logs,
    records,
    run_chain,
    submitted_jobs,
)
from tests.jobs.slurm.cluster import Cluster
from tests.support.launching import require_success


@pytest.fixture(scope="module")
def finished_run(cluster: Cluster, mpich_run: Path) -> Path:
    """Return the finished run of a user in a folder with shell characters, whose jobs Slurm has forgotten."""
    final_states(cluster, mpich_run)
    cluster.forget_ended_jobs()
    return mpich_run


@pytest.mark.fault(
    "a site refuses jobs",
    cause="no account; more jobs than the user may submit",
    result="no job stays in the queue; the message is Slurm's",
    lost="nothing",
)
def test_jobs_against_the_rules_of_the_site_are_refused(
    cluster: Cluster, mpich_site: tuple[str, ...], ada_folder: Path
) -> None:
    run = ada_folder / "run"
    result = run_chain(cluster, run, *mpich_site, "~launcher.sbatch.all.account", user="ada")
    assert result.returncode == 2
    assert "generate: Slurm refused the job: sbatch: error: A job needs an account" in result.stderr
    assert not run.exists()
    # Slurm counts the jobs of a user at the submission only, not with --test-only.
    with cluster.folder_of("grace") as folder:
        result = run_chain(cluster, folder / "run", *mpich_site, user="grace")
        assert result.returncode == 2
        assert "Job violates accounting/QOS policy" in result.stderr
        assert "the earlier jobs are cancelled: " in result.stderr
        assert set(final_states(cluster, folder / "run").values()) == {"CANCELLED"}


def test_one_command_ends_with_the_bytes_of_a_run_without_slurm(
    cluster: Cluster, finished_run: Path, validated_data: Path, trained_model: Path
) -> None:
    content = json.loads(require_success(run_chain(cluster, finished_run, "status", "--json")).stdout)
    assert content["state"] == "done", logs(finished_run)
    assert content["owner"] == finished_run.owner() == "ada"
    report = finished_run / "models" / "fno" / "evaluation" / "report.html"
    assert report.is_file()
    assert str(report) in logs(finished_run)
    assert [path.name for path in finished_run.parent.iterdir()] == [finished_run.name]
    assert read_generated(finished_run) == read_generated(validated_data)
    for name in ("model.safetensors", "log.csv"):
        files = [run / "models" / "fno" / name for run in (finished_run, trained_model)]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_the_ranks_of_a_job_are_on_both_nodes_as_recorded(finished_run: Path) -> None:
    generations = records(finished_run, "generate")
    assert all("MPICH" in record["mpi_library"] for record in generations)
    for record in (*generations, *records(finished_run, "train")):
        assert record["ranks"] == 2
        assert record["nodes"] == {"n1": 1, "n2": 1}
        assert record["launcher"] == "srun"
    jobs = {record["slurm"]["job"] for stage in JOBS[2:] for record in records(finished_run, stage)}
    assert jobs == {job_numbers(finished_run)[stage] for stage in JOBS[2:]}
    tasks = [record["slurm"].get("array_task") for record in records(finished_run, "generate")]
    assert sorted(tasks, key=str) == ["0", "1", None]


def test_a_job_with_gpus_that_torch_does_not_see_says_so(finished_run: Path) -> None:
    (record,) = records(finished_run, "train")
    assert record["device"] == "cpu"
    assert record["warning"].startswith("this job has GPUs, but computes on processors: torch ")
    assert f"warning: {record['warning']}" in logs(finished_run)
    assert not [record for record in records(finished_run, "generate") if "warning" in record]


def test_status_shows_the_end_to_all_and_resume_submits_nothing(cluster: Cluster, finished_run: Path) -> None:
    lines = require_success(run_chain(cluster, finished_run, "status")).stdout.splitlines()
    assert [line.split()[0] for line in lines if "done" in line] == list(JOBS)
    assert f"report: {finished_run / 'models' / 'fno' / 'evaluation' / 'report.html'}" in lines
    assert require_success(run_chain(cluster, finished_run, "wait")).stdout.splitlines() == lines
    colleague_result = require_success(run_chain(cluster, finished_run, "status", user="grace"))
    assert colleague_result.stdout.splitlines() == lines
    content = json.loads(require_success(run_chain(cluster, finished_run, "status", "--json")).stdout)
    assert (content["state"], content["reports"]) == ("done", [lines[-1].removeprefix("report: ")])
    train = content["jobs"][-2]
    assert {key: train[key] for key in ("name", "slurm_job", "state", "limit_seconds", "restarts")} == {
        "name": "train",
        "slurm_job": job_numbers(finished_run)["train"],
        "state": "done",
        "limit_seconds": 3600,
        "restarts": 0,
    }
    assert train["elapsed_seconds"] > 0
    jobs_before = submitted_jobs(finished_run)
    assert "nothing is missing" in require_success(run_chain(cluster, finished_run, "resume")).stdout
    assert submitted_jobs(finished_run) == jobs_before
