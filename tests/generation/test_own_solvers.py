"""Data sets of external programs and of solvers that return whole trajectories."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from mpi4py import MPI

from pipeline.config.build import build_recorded_solver
from simsurrogate.errors import UserError
from tests.faults.driving import read_generated
from tests.solvers.executable.test_runs import PYTHON, build_options, is_alive, processes_of, wait_until
from tests.support import launching
from tests.support.launching import require_success, run_stage
from tests.support.solver_cases import LINE

ROOT = Path(__file__).parents[2]
SAMPLES = "samples={train: 6, valid: 2, test: 2, test_extrapolation: 0, per_shard: 1}"
SMALL = (SAMPLES, "output.steps=4", "storage.precision=float64")
TINY_MODEL = (
    "surrogate=pod",
    "training.steps=20",
    "training.batch_size=4",
    "training.warmup_steps=1",
    "training.validate_every=20",
    "training.device=cpu",
    "evaluation.figures=0",
)
#: A launch line that makes a program slow, and has no influence on the data.
SLOW = "solver.program.launch=[/bin/sh,-c,'sleep 0.3; exec \"$@\"',sh]"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Return a working folder with the examples of the repository, and the compiled program."""
    shutil.copytree(ROOT / "examples" / "own_solver", tmp_path / "examples" / "own_solver")
    return tmp_path


def arguments_of(example: str, workspace: Path) -> tuple[str, ...]:
    """Return the arguments that choose an example; the Fortran program is compiled."""
    if example == "python":
        # Many trajectories, because each takes milliseconds.
        samples = SAMPLES.replace("train: 6", "train: 20")
        return ("solver.path=examples/own_solver/fisher.py", "output.duration=2.0", *SMALL[1:], samples)
    if shutil.which("gfortran") is None:
        pytest.skip("there is no gfortran")
    source = "examples/own_solver/heat_line.f90"
    subprocess.run(["gfortran", "-O2", "-o", "heat_line", source], cwd=workspace, check=True)
    return ("--config-dir", "examples/own_solver", "solver=heat_line", "output.duration=0.5", *SMALL)


def kill_during_generation(workspace: Path, run: str, *arguments: str) -> None:
    """Kill mpirun with SIGKILL once the first shard exists, and wait for the end of its ranks."""
    command = launching.mpi_command(2, "-m", "pipeline.generate", *arguments, f"run={run}")
    variables = launching.environment(TMPDIR=str(workspace))
    with subprocess.Popen(command, cwd=workspace, env=variables, stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: any((workspace / run).rglob("*.hdf5")) or process.poll() is not None, 120)
        process.kill()
    wait_until(lambda: not list(workspace.glob("simsurrogate-run-*")))
    assert 0 < len(list((workspace / run).rglob("*.hdf5"))) < (10 if "solver=heat_line" in arguments else 24)


@pytest.mark.fault(
    "a generation by a solver of the user's own is killed",
    cause="SIGKILL to mpirun, {example}",
    result="the next run continues; the bytes are those of an undisturbed run",
    lost="the shards in work",
)
@pytest.mark.parametrize("example", ["fortran", "python"])
def test_an_outside_solver_runs_through_all_stages_on_two_ranks_killed_and_resumed(
    example: str, workspace: Path
) -> None:
    arguments = arguments_of(example, workspace)
    slow = (SLOW,) if example == "fortran" else ()
    worth = f"evaluation.worth={int(example == 'fortran')}"
    kill_during_generation(workspace, "killed", *arguments, *slow)
    for run, ranks in (("killed", 2), ("whole", 0)):
        require_success(run_stage("generate", *arguments, f"run={run}", ranks=ranks, cwd=workspace))
    assert read_generated(workspace / "killed") == read_generated(workspace / "whole")
    for stage in ("validate", "train", "evaluate"):
        result = run_stage(stage, *arguments, *TINY_MODEL, worth, "run=killed", ranks=2, cwd=workspace)
        assert "no trajectory is computed again" not in require_success(result).stderr
    evaluation = workspace / "killed" / "models" / "pod" / "evaluation"
    assert json.loads((evaluation / "metrics.json").read_text())["splits"]["test"]
    assert (evaluation / "report.html").is_file()


def line_arguments(folder: Path, *fault: str, **program: Any) -> tuple[str, ...]:
    """Return the arguments of a solver of the test program, whose YAML this function writes."""
    options = build_options()
    options["program"] |= {"command": [*PYTHON, *fault], "retries": 0, **program}
    path = folder / "mine" / "solver" / "line.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(options, sort_keys=False))
    return ("--config-dir", str(folder / "mine"), "solver=line", *SMALL, f"run={folder / 'run'}")


@pytest.mark.fault(
    "an external program always fails",
    cause="{fault}",
    result="refused in one sentence; no shard, and no process of the program is left",
    lost="nothing",
)
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            "nothing",
            "the program python line.py failed: it wrote no file density.txt. The folder holds input.json",
        ),
        ("nan", "failed: it wrote a value of density that is not finite, at 0.1 s"),
        ("hang", "failed: it was ended at its time limit, solver.program.time_limit=0.5 s"),
    ],
)
def test_a_program_that_always_fails_is_refused_in_one_sentence(
    fault: str, message: str, tmp_path: Path
) -> None:
    arguments = line_arguments(tmp_path, fault, str(tmp_path / "processes"), time_limit=0.5)
    result = run_stage("generate", *arguments)
    assert result.returncode == 2
    (error,) = (line for line in result.stderr.splitlines() if line.startswith("error: "))
    assert message in error
    assert "1 of 10 trajectories failed" in error
    assert not list(tmp_path.rglob("*.hdf5")) + list(tmp_path.rglob("*.partial"))
    assert not any(map(is_alive, processes_of(tmp_path / "processes")))


@pytest.mark.fault(
    "an external program fails for some parameters",
    cause="exit code 3",
    result="the receipts name parameters, exit code and stderr of each trajectory",
    lost="these trajectories",
)
def test_failures_are_recorded_for_each_trajectory(tmp_path: Path) -> None:
    arguments = line_arguments(tmp_path, "{{ 'exit' if rate < 1.2 else '' }}")
    require_success(run_stage("generate", *arguments, "storage.max_failed_share=0.9"))
    manifest = json.loads((tmp_path / "run" / "dataset" / "manifest.json").read_text())
    failed = manifest["failed"]
    assert len(failed) == 3
    assert all(failure["parameters"]["rate"] < 1.2 for failure in failed)
    (reason,) = {failure["reason"] for failure in failed}
    stderr = "line: the mesh is tangled | line: giving up"
    assert reason.endswith(f"it ended with exit code 3; its stderr: {stderr}")


def test_the_program_and_its_version_belong_to_the_identity_and_the_time_limit_does_not(
    tmp_path: Path,
) -> None:
    program = tmp_path / "line.py"
    shutil.copy(LINE, program)
    command = [sys.executable, "-I", "-S", str(program)]
    options: dict[str, Any] = {"command": [*command, "input.json"], "version": [*command, "--version"]}
    require_success(run_stage("generate", *line_arguments(tmp_path, **options)))
    manifest = json.loads((tmp_path / "run" / "dataset" / "manifest.json").read_text())
    assert manifest["configuration"]["program"]["version"] == "line 1.2"
    assert "program" not in manifest["configuration"]["solver"]
    other_limits = line_arguments(tmp_path, **options, time_limit=30.0, retries=5)
    assert "is complete; skipped" in require_success(run_stage("generate", *other_limits)).stdout
    program.write_text(program.read_text().replace("line 1.2", "line 1.3"))
    result = run_stage("generate", *line_arguments(tmp_path, **options))
    assert result.returncode == 2
    assert 'program.version: "line 1.2" -> "line 1.3"' in result.stderr
    assert "program.files.line.py: " in result.stderr
    note = require_success(run_stage("validate", *line_arguments(tmp_path, **options))).stderr
    assert "no trajectory is computed again, because the program of the solver has changed" in note


@pytest.mark.fault(
    "a manifest from elsewhere names a program",
    cause="an edited command",
    result="the program is not started",
    lost="nothing",
)
def test_a_program_that_a_data_set_names_is_never_started(tmp_path: Path) -> None:
    arguments = line_arguments(tmp_path)
    require_success(run_stage("generate", *arguments))
    result = require_success(run_stage("validate", f"run={tmp_path / 'run'}"))
    assert "A program named by a data set is never started automatically. Type the solver=" in result.stderr
    manifest = json.loads((tmp_path / "run" / "dataset" / "manifest.json").read_text())
    configuration = manifest["configuration"]
    marker = tmp_path / "marker"
    configuration["solver"]["program"] = {"command": ["touch", str(marker)]}
    for recorded in (configuration, {key: configuration[key] for key in configuration if key != "program"}):
        with pytest.raises(UserError, match=r"never started automatically|solver\.program"):
            build_recorded_solver(recorded, {"name": "heat"}, MPI.COMM_SELF)
    assert not marker.exists()


@pytest.mark.fault(
    "generate is stopped while an external program hangs",
    cause="SIGUSR1 to mpirun, groups of 2 ranks",
    result="exit code 75; no process of the program is left",
    lost="the trajectories in work",
)
def test_a_stop_request_ends_the_program_of_a_group_of_ranks(tmp_path: Path) -> None:
    file = tmp_path / "processes"
    arguments = line_arguments(tmp_path, "hang", str(file))
    command = launching.mpi_command(2, "-m", "pipeline.generate", *arguments, "group_size=2")
    with subprocess.Popen(command, env=launching.environment(), stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: len(processes_of(file)) == 2 or process.poll() is not None, 120)
        process.send_signal(signal.SIGUSR1)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        assert process.returncode == 75
    assert not any(map(is_alive, processes_of(file)))


def test_the_page_shows_the_examples() -> None:
    page = (ROOT / "docs" / "own_solver.md").read_text()
    for name in ("solver/heat_line.yaml", "heat_line.nml.j2"):
        assert f"```\n{page_text(name)}```" in page.replace("```yaml", "```"), name
    assert page_text("fisher.py").count("def states(self, parameters: Parameters, times: np.ndarray)") == 1
    commands = [line for line in page.splitlines() if line.startswith("python -m pipeline.")]
    assert len(commands) == 4
    for command in commands:
        for word in command.split()[3:]:
            path = word.partition("=")[2] if word.startswith("solver.path=") else ""
            assert (ROOT / path).exists(), word


def page_text(name: str) -> str:
    """Return the text of a file of the example."""
    return (ROOT / "examples" / "own_solver" / name).read_text()
