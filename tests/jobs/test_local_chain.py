"""Promise: one command runs all stages, skips what is complete, stops at the first failure, and leaves
nothing behind when it dies.
"""

import contextlib
import functools
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.jobs import local
from tests.support import launching
from tests.support.launching import SMALL, stage, succeeded

STAGES = ["generate", "validate", "train", "evaluate"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The smoke experiment in a folder with shell characters in its name."""
    run = tmp_path_factory.mktemp("chain") / "it's a run; $(touch x), [one]"
    return run, succeeded(chain(run, "experiment=smoke"))


def chain(run: Path, *overrides: str, **options) -> subprocess.CompletedProcess[str]:
    escaped = str(run).replace("\\", "\\\\").replace('"', '\\"')
    return stage("chain", f'run="{escaped}"', *overrides, **options)


def test_the_chain_ends_with_an_evaluated_surrogate(finished):
    run, result = finished
    report = run / "models" / "fno" / "evaluation" / "report.html"
    last = result.stdout.rstrip().splitlines()[-1]
    assert last == f"chain: wrote {report}. Next: python -m pipeline.compare {shlex.quote(str(run))}"
    assert report.is_file()
    assert [result.stdout.index(f"{n}/4 {name}") for n, name in enumerate(STAGES, 1)] == sorted(
        result.stdout.index(f"{n}/4 {name}") for n, name in enumerate(STAGES, 1)
    )
    headline = json.loads(report.with_name("metrics.json").read_text())["splits"]["test"]["headline"]
    assert 0 < headline["surrogate"]["one_step"]["median"] < headline["mean"]["one_step"]["median"]
    assert headline["persistence"]["rollout_end"]["median"] > 0
    records = [json.loads(path.read_text()) for path in sorted((run / "records").glob("*.json"))]
    assert sorted(record["stage"] for record in records) == sorted([*STAGES, "chain"])
    assert {record["outcome"] for record in records} == {"complete"}
    assert all(record["configuration"]["run"] == str(run) for record in records)


def test_a_second_run_skips_every_stage(finished):
    run, _ = finished
    before = {path: path.stat().st_mtime_ns for path in files_of(run)}
    result = succeeded(chain(run, "experiment=smoke"))
    assert "evaluation/report.html. Next: " in result.stdout.rstrip().splitlines()[-1]
    assert {path: path.stat().st_mtime_ns for path in files_of(run) if path in before} == before
    seconds = json.loads((run / "records" / "chain-001.json").read_text())["seconds"]
    assert list(seconds) == STAGES


def test_a_folder_with_other_data_is_refused_before_the_first_stage(finished):
    run, _ = finished
    before = files_of(run)
    result = chain(run, "experiment=smoke", "seed=7")
    assert result.returncode == 2
    assert "another configuration: seed: 0 -> 7 (stored -> requested)" in result.stderr
    assert "start_anew=true" in result.stderr
    assert files_of(run) == before


def test_a_sweep_evaluates_each_surrogate_on_the_same_data(tmp_path):
    quick = ("surrogate.width=8", "training.steps=3", "training.warmup_steps=1", "evaluation.figures=0")
    alone = ("launcher.ranks.generate=1", "launcher.ranks.validate=1")
    command = ["-m", "pipeline.chain", f"run={tmp_path}/run", *SMALL, *quick, *alone]
    # Hydra leaves its multirun.yaml where a sweep is started.
    result = succeeded(
        launching.run([sys.executable, *command, "surrogate=fno,unet", "--multirun"], cwd=tmp_path)
    )
    identities = set()
    for name in ("fno", "unet"):
        report = tmp_path / "run" / "models" / name / "evaluation" / "report.html"
        assert f"chain: wrote {report}. " in result.stdout
        assert report.is_file()
        identities.add(json.loads(report.with_name("metrics.json").read_text())["dataset"])
    assert len(identities) == 1


def files_of(run: Path) -> list[Path]:
    return [path for folder in ("dataset/data", "models") for path in (run / folder).rglob("*.*")]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("surrogate.width=wide", "surrogate.width='wide'"),
        ("solver.scheme=magic", "solver.scheme='magic'"),
        ("training.stepz=3", "did you mean 'steps'?"),
        ("surrogate=fnoo", "did you mean 'fno'?"),
        ("surrogate.modes=40", "64 cells resolve 1 to 32"),
        ("training.unroll=11", "output.steps=10"),
        ("launcher.ranks.train=3", "cannot be shared by 3 ranks"),
        ("training.gradient_accumulation_steps=3", "gradient_accumulation_steps=3 does not divide"),
    ],
)
def test_a_wrong_configuration_stops_it_before_the_first_stage(tmp_path, override, words):
    result = chain(tmp_path / "run", override, timeout=60)
    assert result.returncode == 2
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_failed_stage_stops_it_and_says_where_to_look(tmp_path):
    run, mine = tmp_path / "run", tmp_path / "my experiments"
    run.mkdir()
    (run / "models").write_text("a file where train needs a folder")
    (mine / "experiment").mkdir(parents=True)
    (mine / "experiment" / "own.yaml").write_text(
        "# @package _global_\nseed: 12\nsurrogate: {width: 8, modes: 4}\nlauncher: {ranks: {validate: 1}}\n"
    )
    command = ["-m", "pipeline.chain", "--config-dir", str(mine), f"run={run}", "experiment=own", *SMALL]
    result = launching.run([sys.executable, *command], timeout=120)
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


def test_it_refuses_to_be_started_on_several_ranks(tmp_path):
    result = stage("chain", f"run={tmp_path}/run", ranks=2, timeout=60)
    assert result.returncode != 0
    assert "The chain starts the ranks of each stage itself." in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the death signal is Linux's")
@pytest.mark.parametrize(
    ("sent", "whole_group", "exit_code"),
    [
        pytest.param(signal.SIGKILL, False, -signal.SIGKILL, id="killed"),
        pytest.param(signal.SIGINT, True, 130, id="Ctrl-C"),
    ],
)
def test_a_dead_chain_leaves_no_process(tmp_path, sent, whole_group, exit_code):
    run = tmp_path / "endless"
    command = [sys.executable, "-m", "pipeline.chain", f"run={run}", "solver.resolution=128"]
    command += ["samples.train=100000", "samples.per_shard=10", "launcher.ranks.generate=2"]
    with subprocess.Popen(
        command,
        env=launching.environment(),
        start_new_session=True,
        # As a terminal starts it: a shell's background job, which these tests may be, ignores SIGINT.
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        # The chain, mpirun and two ranks, which have begun to make shards.
        wait_until(lambda: len(list(run.glob("dataset/data/train/*"))) > 0, 90)
        assert len(processes_of(run)) == 4
        if whole_group:
            os.killpg(process.pid, sent)
        else:
            os.kill(process.pid, sent)
        assert process.wait(30) == exit_code
    try:
        wait_until(lambda: not processes_of(run), 10)
    finally:
        for number in processes_of(run):
            os.kill(number, signal.SIGKILL)


def processes_of(run: Path) -> list[int]:
    """The processes that are alive and have the run folder in their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            is_alive = (folder / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
            if is_alive and f"run={run}".encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def wait_until(condition, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def test_without_a_launcher_a_stage_runs_on_one_rank_and_says_so(tmp_path, capfd):
    with pytest.raises(local.StageFailedError, match="evaluate failed with exit code 2"):
        local.run_stage("evaluate", [f"run={tmp_path}/run"], 3, ["no-such-mpirun"])
    out, err = capfd.readouterr()
    assert "no-such-mpirun was not found" in out
    assert "one rank instead of 3" in out
    assert "there is no data set in" in err
    assert "[rank" not in err


def test_the_cores_are_shared_out_unless_the_user_did(monkeypatch):
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    cores = local.num_cores()
    assert local.stage_environment(1)["OMP_NUM_THREADS"] == str(cores)
    assert local.stage_environment(2 * cores)["NUMBA_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert local.stage_environment(1)["OMP_NUM_THREADS"] == "7"


def test_the_overview_names_every_stage_and_choice_and_is_quick():
    start = time.monotonic()
    result = succeeded(launching.run([sys.executable, "-X", "importtime", "-m", "pipeline"]))
    assert time.monotonic() - start < 10
    for name in (*STAGES, "chain", "heat", "fno", "unet", "smoke", "heat_fno"):
        assert f" {name} " in result.stdout
    imported = {line.rsplit("|")[-1].strip() for line in result.stderr.splitlines()}
    assert "rich" in imported
    assert not imported & {"torch", "numba", "mpi4py", "h5py", "matplotlib", "hydra"}
