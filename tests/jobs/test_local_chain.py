"""The chain on this machine: all stages in one command, skipped stages, failures, and orphans."""

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.jobs import local
from tests.support import launching
from tests.support.launching import SMALL_DATASET, require_success, run_stage

ROOT = Path(__file__).parents[2]
STAGES = ["generate", "validate", "train", "evaluate"]


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Return the finished smoke experiment in a folder with shell characters in its name, and the result."""
    run = tmp_path_factory.mktemp("chain") / "it's a run; $(touch x), [one]"
    return run, require_success(run_chain(run, "experiment=smoke"))


def run_chain(run: Path, *overrides: str, **options) -> subprocess.CompletedProcess[str]:
    escaped_path = str(run).replace("\\", "\\\\").replace('"', '\\"')
    return run_stage("chain", f'run="{escaped_path}"', *overrides, **options)


def test_the_chain_ends_with_an_evaluated_surrogate(finished_run):
    run, result = finished_run
    report = run / "models" / "fno" / "evaluation" / "report.html"
    last_line = result.stdout.rstrip().splitlines()[-1]
    assert last_line == f"chain: wrote {report}. Next: python -m pipeline.compare {shlex.quote(str(run))}"
    assert report.is_file()
    assert [result.stdout.index(f"{position}/4 {name}") for position, name in enumerate(STAGES, 1)] == sorted(
        result.stdout.index(f"{position}/4 {name}") for position, name in enumerate(STAGES, 1)
    )
    headline = json.loads(report.with_name("metrics.json").read_text())["splits"]["test"]["headline"]
    assert 0 < headline["surrogate"]["one_step"]["median"] < headline["mean"]["one_step"]["median"]
    assert headline["persistence"]["rollout_end"]["median"] > 0
    records = [json.loads(path.read_text()) for path in sorted((run / "records").glob("*.json"))]
    assert sorted(record["stage"] for record in records) == sorted([*STAGES, "chain"])
    assert {record["outcome"] for record in records} == {"complete"}
    assert all(record["configuration"]["run"] == str(run) for record in records)


def test_a_second_run_skips_every_stage(finished_run):
    run, _ = finished_run
    times_before = {path: path.stat().st_mtime_ns for path in output_files(run)}
    result = require_success(run_chain(run, "experiment=smoke"))
    assert "evaluation/report.html. Next: " in result.stdout.rstrip().splitlines()[-1]
    assert {
        path: path.stat().st_mtime_ns for path in output_files(run) if path in times_before
    } == times_before
    seconds = json.loads((run / "records" / "chain-001.json").read_text())["seconds"]
    assert list(seconds) == STAGES


def test_a_model_of_another_training_is_refused_before_the_first_stage(finished_run):
    run, _ = finished_run
    records_before = list((run / "records").iterdir())
    result = run_chain(run, "experiment=smoke", "training.learning_rate=1e-4")
    assert result.returncode == 2
    assert "learning_rate: 0.002 -> 0.0001 (stored -> requested)" in result.stderr
    assert list((run / "records").iterdir()) == records_before


def test_a_folder_with_other_data_is_refused_before_the_first_stage(finished_run):
    run, _ = finished_run
    files_before = output_files(run)
    result = run_chain(run, "experiment=smoke", "seed=7")
    assert result.returncode == 2
    assert "another configuration: seed: 0 -> 7 (stored -> requested)" in result.stderr
    assert "overwrite=true" in result.stderr
    assert output_files(run) == files_before


def test_a_sweep_evaluates_each_surrogate_on_the_same_data(tmp_path):
    training_overrides = (
        "surrogate.width=8",
        "training.steps=3",
        "training.warmup_steps=1",
        "evaluation.figures=0",
        "evaluation.worth=0",
    )
    launcher_overrides = ("launcher.ranks.generate=1", "launcher.ranks.validate=1")
    overrides = (f"run={tmp_path}/run", *SMALL_DATASET, *training_overrides, *launcher_overrides)
    # No file can be created in /sys.
    result = require_success(run_stage("chain", *overrides, "surrogate=fno,unet", "--multirun", cwd="/sys"))
    positions = [
        result.stdout.index(f"job {text}") for text in ("1 of 2: surrogate=fno", "2 of 2: surrogate=unet")
    ]
    assert positions == sorted(positions)
    identities = set()
    for name in ("fno", "unet"):
        report = tmp_path / "run" / "models" / name / "evaluation" / "report.html"
        assert f"chain: wrote {report}. " in result.stdout
        assert report.is_file()
        identities.add(json.loads(report.with_name("metrics.json").read_text())["dataset"])
    assert len(identities) == 1


def output_files(run: Path) -> list[Path]:
    return [path for folder in ("dataset/data", "models") for path in (run / folder).rglob("*.*")]


MISTAKES = {
    "surrogate.width=wide": "surrogate.width='wide'",
    "solver.scheme=magic": "solver.scheme='magic'",
    "training.stepz=3": "did you mean 'training.steps'?",
    "surrogate=fnoo": "did you mean 'fno'?",
    "surrogate.modes=40": "64 cells resolve 1 to 32",
    "training.unroll=11": "output.steps=10",
    "launcher.ranks.train=3": "cannot be shared by 3 ranks",
    "training.gradient_accumulation_steps=3": "gradient_accumulation_steps=3 does not divide",
}


def test_a_wrong_configuration_stops_the_chain_before_the_first_stage(tmp_path):
    program = ["-m", "tests.support.mistakes", "chain", str(tmp_path / "run"), *MISTAKES]
    result = require_success(launching.run([sys.executable, *program], cwd=ROOT))
    for (exit_code, message), expected in zip(json.loads(result.stdout), MISTAKES.values(), strict=True):
        assert exit_code == 2
        assert expected in message
        assert "Traceback" not in message
    assert not (tmp_path / "run").exists()


def test_a_failed_stage_stops_the_chain_with_the_path_of_its_record(tmp_path):
    run, own_configs = tmp_path / "run", tmp_path / "my experiments"
    run.mkdir()
    (run / "models").write_text("a file where train needs a folder")
    (own_configs / "experiment").mkdir(parents=True)
    (own_configs / "experiment" / "own.yaml").write_text(
        "# @package _global_\nseed: 12\nsurrogate: {width: 8, modes: 4}\nlauncher: {ranks: {validate: 1}}\n"
    )
    overrides = ("--config-dir", str(own_configs), f"run={run}", "experiment=own", *SMALL_DATASET)
    result = run_stage("chain", *overrides, timeout=120)
    assert result.returncode == 2
    assert "chain stopped: train failed with exit code 2" in result.stderr
    assert "train-000.json" in result.stderr
    assert "evaluate" not in result.stdout
    records = {path.name: json.loads(path.read_text()) for path in (run / "records").glob("*.json")}
    outcomes = {name: record["outcome"] for name, record in records.items()}
    assert outcomes == {
        "chain-000.json": "failed",
        "generate-000.json": "complete",
        "validate-000.json": "complete",
        "train-000.json": "failed",
    }
    assert {record["configuration"]["seed"] for record in records.values()} == {12}


def test_a_stage_without_a_complete_record_stops_the_chain(tmp_path):
    (tmp_path / "sbatch").touch(mode=0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    result = run_chain(tmp_path / "run", "experiment=smoke", "launcher.mpirun=[/bin/true]", PATH=path)
    assert result.returncode == 2
    assert "note: this chain runs on this machine. Type launcher=slurm to submit jobs" in result.stderr
    assert "exit code 0, but generate is not complete: it has no run record" in result.stderr
    assert "2/4" not in result.stdout


def test_a_chain_on_several_ranks_is_refused(tmp_path):
    result = run_stage("chain", f"run={tmp_path}/run", ranks=2, timeout=60)
    assert result.returncode != 0
    assert "The chain starts the ranks of each stage itself." in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_stage_without_a_launcher_runs_on_one_rank_and_prints_a_message(tmp_path, capfd):
    with pytest.raises(local.StageFailedError, match="evaluate failed with exit code 2"):
        local.run_stage("evaluate", [f"run={tmp_path}/run"], 3, ["no-such-mpirun"])
    stdout, stderr = capfd.readouterr()
    assert "no-such-mpirun was not found" in stdout
    assert "one rank instead of 3" in stdout
    assert "there is no data set in" in stderr
    assert "[rank" not in stderr


def test_the_ranks_share_the_cores_unless_the_user_sets_the_threads(monkeypatch):
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    cores = local.num_cores()
    assert local.stage_environment(1)["OMP_NUM_THREADS"] == str(cores)
    assert local.stage_environment(2 * cores)["NUMBA_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert local.stage_environment(1)["OMP_NUM_THREADS"] == "7"


def test_the_overview_lists_every_stage_and_choice_and_imports_little():
    start_time = time.monotonic()
    result = require_success(launching.run([sys.executable, "-X", "importtime", "-m", "pipeline"]))
    assert time.monotonic() - start_time < 10
    for name in (*STAGES, "chain", "heat", "fno", "unet", "smoke", "heat_fno"):
        assert f" {name} " in result.stdout
    imports = {line.rsplit("|")[-1].strip() for line in result.stderr.splitlines()}
    assert "rich" in imports
    assert not imports & {"torch", "numba", "mpi4py", "h5py", "matplotlib", "hydra"}
