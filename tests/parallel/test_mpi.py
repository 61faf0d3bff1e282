"""The start of MPI: nothing is left behind, and ranks end with their launcher."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.jobs.test_ended_chains import processes_of, wait_until
from tests.support import launching
from tests.support.launching import SMALL_DATASET, mpi_command

#: A program that starts MPI alone, prints its open shared memory, and ends as its argument says.
ALONE = """
import os, sys
from pipeline.parallel import launch
world = launch.world()
assert world.allgather(1) == [1]
print([line for line in open("/proc/self/maps") if "/dev/shm" in line or "sm_segment" in line])
print(sorted(name for name in os.environ if name == "TMPDIR" or name.startswith("OMPI_MCA_btl")))
if sys.argv[1] == "killed":
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize(("end", "exit_code"), [("ended", 0), ("killed", -signal.SIGKILL)])
@pytest.mark.fault(
    "a single process is {end}",
    cause="exit and SIGKILL",
    result="no shared memory and no temporary folder is left",
    lost="nothing",
)
def test_a_process_without_a_launcher_leaves_no_file(end: str, exit_code: int, tmp_path: Path) -> None:
    result = launching.run([sys.executable, "-c", ALONE, end], TMPDIR=str(tmp_path))
    assert result.returncode == exit_code, result.stderr
    assert result.stdout.splitlines() == ["[]", "['TMPDIR']"]
    assert list(tmp_path.iterdir()) == []


def test_mpi_starts_without_a_home_folder() -> None:
    program = "from pipeline.parallel import launch; print(launch.world().size)"
    result = launching.run(["env", "-u", "HOME", sys.executable, "-c", program])
    assert (result.returncode, result.stdout, result.stderr) == (0, "1\n", "")


def test_a_missing_mpi_library_is_reported_in_one_message() -> None:
    program = (
        "from pipeline import cli; from pipeline.parallel import launch; cli.exit_on_error(launch.world)"
    )
    result = launching.run([sys.executable, "-c", program], MPI4PY_LIBMPI="/nowhere/libmpi.so")
    assert result.returncode == 2
    assert result.stderr.startswith(
        "error: mpi4py cannot load an MPI library: /nowhere/libmpi.so: cannot open"
    )
    assert "Type `module load`" in result.stderr
    assert result.stderr.count("\n") == 1


def test_mpi_keeps_the_reaction_to_a_hangup() -> None:
    program = (
        "import os, signal; signal.signal(signal.SIGHUP, signal.{reaction}); "
        "from pipeline.parallel import launch; launch.world(); "
        "os.kill(os.getpid(), signal.SIGHUP); print('alive')"
    )
    results = [
        launching.run([sys.executable, "-c", program.format(reaction=reaction)])
        for reaction in ("SIG_DFL", "SIG_IGN")
    ]
    assert [result.returncode for result in results] == [-signal.SIGHUP, 0]
    assert [result.stdout for result in results] == ["", "alive\n"]


def test_a_hangup_during_the_start_of_mpi_takes_effect() -> None:
    program = (
        "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_DFL); from pipeline.parallel import mpi; "
        "start = mpi._initialise_alone; "
        "mpi._initialise_alone = lambda: (start(), os.kill(os.getpid(), signal.SIGHUP)); "
        "mpi.initialise(is_alone=True); print('alive')"
    )
    result = launching.run([sys.executable, "-c", program])
    assert (result.returncode, result.stdout) == (-signal.SIGHUP, "")


@pytest.mark.fault(
    "mpirun dies while its ranks import",
    cause="SIGKILL to mpirun",
    result="all ranks end",
    lost="nothing",
)
def test_ranks_end_with_mpirun_during_their_imports(tmp_path: Path) -> None:
    modules = tmp_path / "modules"
    modules.mkdir()
    # The stage imports h5py before it starts MPI. The import lasts longer than the test waits for the ranks.
    (modules / "h5py.py").write_text(
        "import sys, time\nprint('importing', file=sys.stderr, flush=True)\ntime.sleep(60)\n"
    )
    search_path = os.pathsep.join(filter(None, [str(modules), os.environ.get("PYTHONPATH")]))
    environment = launching.environment(PYTHONPATH=search_path)
    command = mpi_command(2, "-m", "pipeline.generate", f"run={tmp_path}", *SMALL_DATASET)
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        num_importing = 0
        while num_importing < 2:
            num_importing += "importing" in process.stderr.readline()
        assert len(processes_of(tmp_path)) == 3, "mpirun and two ranks"
        os.kill(process.pid, signal.SIGKILL)
    try:
        wait_until(lambda: not processes_of(tmp_path), 2)
    finally:
        for process_id in processes_of(tmp_path):
            os.kill(process_id, signal.SIGKILL)
    assert not (tmp_path / "records").exists()
