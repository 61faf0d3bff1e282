"""Runs of an external program: failures, time limits, retries, and the end of all of its processes."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from mpi4py import MPI

import configs
from pipeline.config.build import build_solver
from pipeline.data.format.layout import Header
from pipeline.data.plan import Shard
from pipeline.generation.shards import ShardMaker
from simsurrogate.errors import UserError
from solvers import waits
from solvers.contract import DivergedError, Solver
from solvers.contract_checks import draws, solutions
from solvers.executable.environment import program_environment
from tests.support.launching import MPIRUN, environment, mpi_command, require_success, run
from tests.support.solver_cases import LINE, REQUIRED, build_shipped, merge_options

TIMES = np.linspace(0.0, 1.0, 3)
PYTHON = (sys.executable, "-I", "-S", LINE, "input.json")


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let every run have its folder here."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def with_fault(fault: str, file: Path | None = None, **program: Any) -> Solver:
    command = [*PYTHON, *filter(None, (fault, file and str(file)))]
    return build_shipped("executable", program={"command": command, "retries": 0, **program})


def solve(solver: Solver, seed: int = 0) -> np.ndarray:
    return np.array(list(solver.prepare(solver.sample(np.random.default_rng(seed))).solve(TIMES)))


def test_the_program_receives_the_parameters_and_its_frames_are_the_states(scratch: Path) -> None:
    solver = with_fault("")
    parameters = solver.sample(np.random.default_rng(0))
    (axis,) = solver.spec.axes
    expected = (
        parameters["amplitude"]
        * np.exp(-parameters["rate"] * TIMES)[:, None]
        * np.sin(2 * np.pi * axis.centres)
    )
    np.testing.assert_allclose(solve(solver)[:, 0], expected, rtol=0, atol=1e-15)
    assert not list(scratch.iterdir())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("nothing", r"it wrote no file density\.txt\. The folder holds input\.json; it printed nothing"),
        ("nan", r"it wrote a value of density that is not finite, at 1 s"),
        ("short", r"it wrote density\.txt with 24 numbers instead of 36, \(3, 12\)"),
        ("word", r"it wrote density\.txt with a word that is no number: .*'high'"),
        (
            "exit",
            r"it ended with exit code 3; its stderr: line: the mesh is tangled \| line: ",
        ),
        ("signal", r"it was ended by signal 6"),
    ],
)
def test_a_failed_program_is_a_failed_trajectory_with_a_reason(
    fault: str, message: str, scratch: Path
) -> None:
    with pytest.raises(DivergedError, match=rf"^the program python\S* line\.py failed: {message}"):
        solve(with_fault(fault))
    assert not list(scratch.iterdir())


def test_a_message_before_a_long_traceback_is_recorded() -> None:
    program = "import sys; sys.exit('ERROR STOP 7\\n' + '\\n'.join(f'#{i} {i * 10000}' for i in range(9000)))"
    solver = build_shipped("executable", program={"command": [sys.executable, "-c", program], "retries": 0})
    lines = r"ERROR STOP 7 \| #0 0 \| \.\.\. \| #8996 89960000 \| .* \| #8999 89990000$"
    with pytest.raises(DivergedError, match=rf"ended with exit code 1; its stderr: {lines}"):
        solve(solver)


def test_another_attempt_follows_a_failure(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    with pytest.raises(DivergedError, match="the licence server does not answer"):
        solve(with_fault("once", marker))
    marker.unlink()
    assert np.array_equal(solve(with_fault("once", marker, retries=1)), solve(with_fault("")))
    with pytest.raises(DivergedError, match="failed in 3 attempts: it ended with exit code 3"):
        solve(with_fault("exit", retries=2))


def processes_of(file: Path) -> dict[int, Path]:
    """Return the numbers and the folders of the processes that a hanging program noted in a file."""
    lines = file.read_text().splitlines() if file.exists() else []
    return {int(number): Path(folder) for number, folder in (line.split(maxsplit=1) for line in lines)}


def is_alive(process: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def wait_until(condition: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_program_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path, scratch: Path) -> None:
    file = tmp_path / "processes"
    with pytest.raises(DivergedError, match=r"was ended at its time limit, solver\.program\.time_limit=1 s"):
        solve(with_fault("stubborn", file, time_limit=1.0))
    processes = processes_of(file)
    assert len(processes) == 2
    assert not any(map(is_alive, processes))
    assert not list(scratch.iterdir())


def test_an_exception_of_the_caller_ends_the_program(tmp_path: Path, scratch: Path) -> None:
    file = tmp_path / "processes"

    class StoppedError(Exception):
        pass

    def hook() -> None:
        if len(processes_of(file)) == 2:
            raise StoppedError

    with pytest.raises(StoppedError), waits.during_waits(hook):
        solve(with_fault("hang", file))
    assert not any(map(is_alive, processes_of(file)))
    assert not list(scratch.iterdir())


def test_the_death_of_the_stage_ends_the_program_and_removes_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "processes"
    program = (
        "import numpy as np, sys\n"
        "from pathlib import Path\n"
        "from tests.solvers.executable.test_runs import solve, with_fault\n"
        "solve(with_fault('hang', Path(sys.argv[1])))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(file)],
        env=environment(TMPDIR=str(tmp_path), PYTHONPATH=":".join(sys.path)),
        start_new_session=True,
    ) as process:
        wait_until(lambda: len(processes_of(file)) == 2)
        os.killpg(process.pid, signal.SIGKILL)
    (folder,) = set(processes_of(file).values())
    wait_until(lambda: not any(map(is_alive, processes_of(file))) and not folder.exists())


def test_the_variables_of_the_launcher_do_not_reach_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    of_ranks = (
        *(
            "OMPI_COMM_WORLD_RANK",
            "OMPI_MCA_num_procs",
            "PMIX_RANK",
            "PMIX_NAMESPACE",
            "PMI_RANK",
            "OPAL_PREFIX",
        ),
        *("MPI_LOCALRANKID", "SLURM_PROCID", "SLURM_STEP_ID", "SLURM_STEPID", "SLURM_CPU_BIND"),
    )
    of_user = ("OMPI_MCA_btl", "OMPI_ALLOW_RUN_AS_ROOT", "PRTE_MCA_plm", "SLURM_JOB_ID", "OMP_NUM_THREADS")
    for name in (*of_ranks, *of_user):
        monkeypatch.setenv(name, "1")
    variables = program_environment()
    assert not set(of_ranks) & set(variables)
    assert set(of_user) <= set(variables)


NESTED = """
import json, sys
from mpi4py import MPI
values = json.load(open("input.json"))
rank, size = MPI.COMM_WORLD.rank, MPI.COMM_WORLD.size
totals = MPI.COMM_WORLD.gather(rank + 1)
if rank == 0:
    assert size == 2, size
    with open("density.txt", "w") as file:
        file.writelines(" ".join([repr(sum(totals) + t)] * 12) + "\\n" for t in values["times"])
"""
STAGE = """
import sys
import numpy as np
from mpi4py import MPI
from tests.solvers.executable.test_runs import TIMES
from tests.support.solver_cases import build_shipped
assert MPI.COMM_WORLD.size == 2
program = {"command": [sys.executable, sys.argv[1]], "launch": [sys.argv[2], "-n", "{{ ranks }}"]}
for communicator in (MPI.COMM_WORLD, MPI.COMM_SELF):
    program["launch"][2] = "{{ ranks }}" if communicator.size == 2 else "2"
    solver = build_shipped("executable", communicator, program=program)
    states = np.array(list(solver.prepare(solver.sample(np.random.default_rng(0))).solve(TIMES)))
    assert states.shape == (3, 1, 12 // communicator.size), states.shape
    assert np.array_equal(states[:, 0, 0], 3 + TIMES), states[:, 0, 0]
"""


def test_a_rank_of_mpirun_starts_programs_by_mpirun(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(NESTED)
    (tmp_path / "stage.py").write_text(STAGE)
    command = mpi_command(
        2, "-m", "mpi4py", str(tmp_path / "stage.py"), str(tmp_path / "program.py"), str(MPIRUN)
    )
    require_success(run(command, timeout=200, PYTHONPATH=":".join(sys.path)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"command": []}, r"solver\.program\.command=\[\] is not allowed\. .* with at least 1 item"),
        ({"command": ["./missing", "input.json"]}, r"names the file '\./missing', which does not exist"),
        ({"command": ["no-such-program"]}, r"names the program no-such-program, which is not found"),
        ({"launch": ["no-launcher"]}, "names the program no-launcher, which is not found"),
        ({"files": ["missing.dat"]}, r"names the file missing\.dat, which does not exist"),
        ({"input": "../input.json"}, r"solver\.program\.input=\.\./input\.json is no plain name"),
        ({"scratch": "/no/folder"}, r"solver\.program\.scratch=/no/folder is no writable folder"),
        (
            {"command": [*PYTHON, "{{ speed }}"]},
            r"cannot be filled in: 'speed' is undefined\. Known names are ampl",
        ),
        ({"command": [*PYTHON, "{{ rate"]}, r"is no template of Jinja2"),
        (
            {"command": [*PYTHON, "{{ cycler.__init__.__globals__ }}"]},
            r"cannot be filled in: access to attribute",
        ),
        ({"version": [sys.executable, "-c", "exit(1)"]}, r"ends with exit code 1\. The command has to print"),
    ],
)
def test_a_wrong_option_of_the_program_is_refused_before_it_starts(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        build_shipped("executable", program=changes).program_identity()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"problem": None}, r"solver\.problem=null is not allowed\. The value must be a text"),
        ({"particles": {"count": 2, "dimension": 2}}, "are both given"),
        ({"axes": {"x": {"extent": [1.0, 0.0]}}}, r"solver\.axes\.x\.extent=\(1\.0, 0\.0\) has no length"),
        ({"parameters": {"rate": {"range": [2.0, 1.0]}}}, r"parameters\.rate\.range=\[2, 1\] is not a range"),
        (
            {"parameters": {"times": {"unit": "s", "range": [0, 1]}}},
            "has the name times, which the templates",
        ),
        ({"output": {"names": {"heat": "h.txt"}}}, "has the entries heat, which are no channels"),
        ({"output": {"names": {"density": "../d.txt"}}}, r"names the file '\.\./d\.txt'"),
        ({"output": {"order": ["x"]}}, r"solver\.output\.order=\[x\] is not an order of the axes"),
    ],
)
def test_a_wrong_description_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_shipped("executable", **changes)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "line.py").touch()
    with pytest.raises(UserError, match=r"solver\.program names two files line\.py"):
        build_shipped("executable", program={"files": [str(tmp_path / "line.py")]}).program_identity()


def test_the_command_may_name_the_node() -> None:
    words = [*PYTHON, 4, 0.5, "{{ node }}:{{ ranks }}"]
    solver: Any = build_shipped("executable", program={"command": words})
    values = solver._values({"rate": 1.5, "amplitude": 1.0}, TIMES)
    node = os.environ.get("SLURMD_NODENAME") or platform.node()
    assert solver.program.command(values)[-3:] == ["4", "0.5", f"{node}:1"]
    assert "node" not in values


def test_the_input_file_follows_the_template(tmp_path: Path) -> None:
    template = tmp_path / "template"
    template.write_text(
        "rate {{ '%.3e' | format(rate) }}\n{% for t in times %}{{ t }} {% endfor %}{{ cells.x }}\n"
    )
    solver: Any = build_shipped("executable", program={"template": str(template)})
    parameters = {"rate": 1.5, "amplitude": 1.0}
    text = solver.program.input_text(solver._values(parameters, TIMES))
    assert text == "rate 1.500e+00\n0.0 0.5 1.0 12\n"


def test_a_program_may_move_particles() -> None:
    options = {**build_options(), "axes": {}, "particles": {"count": 12, "dimension": 1}}
    options["fields"] = {name: {"unit": "m", "vector": True} for name in ("position", "velocity")}
    options["coefficient_fields"] = {"mass": {"unit": "kg"}}
    files = {"position_x": "density.txt", "velocity_x": "density.txt", "mass": "material.txt"}
    solver = build_solver(options | {"output": {"kind": "text", "names": files}}, MPI.COMM_SELF)
    assert solver.spec.has_particles
    assert list(draws.declarations(solver)) == []
    assert list(solutions.shapes(solver, TIMES)) == []
    assert solve(solver).shape == (3, 2, 12)


def test_a_run_for_the_coefficient_fields_that_fails_is_a_failed_trajectory(tmp_path: Path) -> None:
    command = [*PYTHON, "{{ 'exit' if num_frames == 1 else '' }}"]
    solver = build_shipped(
        "executable",
        coefficient_fields={"material": {"unit": "1"}},
        program={"command": command, "retries": 0},
    )
    header = Header(solver.spec, TIMES, "float64", {}, {})
    maker = ShardMaker(solver, header, tmp_path, "hash", seed=0, progress_hook=lambda: None)
    receipt = maker.make(Shard("train", 0, 0, 2))
    assert [failure.index for failure in receipt.failed] == [0, 1]
    assert "the mesh is tangled" in receipt.failed[0].reason


def build_options() -> dict[str, Any]:
    """Return the options of the test program."""
    text = (Path(configs.__path__[0]) / "solver" / "executable.yaml").read_text()
    return {**merge_options(yaml.safe_load(text), REQUIRED["executable"])}
