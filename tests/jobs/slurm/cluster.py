"""A Slurm cluster of two nodes for one test session."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from tests.jobs.slurm import configuration, daemons, users
from tests.support import forked, launching
from tests.support.ranks import server

FINAL_STATES = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "DEADLINE")


class Cluster:
    """A Slurm that runs inside its `with` block, with its logs in `folder`."""

    def __enter__(self) -> Self:
        users.enter_view()
        self._forking_python: Path | None = None
        # The folder has a short path, because the path of a socket has at most 100 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        # In a separate session, the process that ends the daemons does not receive Ctrl-C.
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", daemons.__name__, str(self.folder)],
            cwd=users.ROOT,
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            wait_until(self._is_up, 60, self._logs)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        self._keeper.wait(60)

    def environment(self, user: str = "root") -> dict[str, str]:
        """Return the environment on the login node with this Python activated.

        Only root's environment names an account and is passed on to all jobs.
        """
        path = f"{Path(sys.executable).parent}:{daemons.PATH}"
        variables = launching.environment(SLURM_CONF=str(self.folder / "slurm.conf"))
        if self._forking_python:
            path = f"{self._forking_python.parent}:{path}"
            variables[forked.PYTHON_VARIABLE] = str(self._forking_python)
        # The ranks of several tests share few cores. Ranks that wait leave their core to other programs.
        variables |= {"PATH": path, "OMPI_MCA_mpi_yield_when_idle": "1"}
        # Without oversubscription, Open MPI places as many ranks on a node as the job has slots there.
        del variables["PRTE_MCA_rmaps_default_mapping_policy"]
        if user == "root":
            prefixes = ("SBATCH", "SALLOC", "SLURM")
            return variables | {f"{prefix}_ACCOUNT": configuration.ACCOUNT for prefix in prefixes}
        variables = {name: value for name, value in variables.items() if "RUN_AS_ROOT" not in name}
        home = str(self.folder / "home" / user)
        return variables | {"HOME": home, "USER": user, "LOGNAME": user, "SBATCH_EXPORT": "NONE"}

    def run(
        self, command: list[str], timeout: float = 60, cwd: Path | None = None, user: str = "root"
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the login node and return its result with any exit code."""
        return subprocess.run(
            command,
            cwd=cwd,
            env=self.environment(user),
            user=user,
            group=user,
            extra_groups=[],
            timeout=timeout,
            capture_output=True,
            text=True,
            check=False,
        )

    @contextmanager
    def forked_stages(self) -> Iterator[None]:
        """Let a server fork the stages of the jobs of the `with` block, after all imports.

        Slurm, mpirun and srun start, signal and end a small process in place of each stage.
        """
        folder = self.folder / "forking"
        folder.mkdir(exist_ok=True)
        self._forking_python = server.write_python(folder)
        try:
            yield
        finally:
            self._forking_python = None

    @contextmanager
    def folder_of(self, user: str) -> Iterator[Path]:
        """Yield an empty folder of a user, which all users may read."""
        with tempfile.TemporaryDirectory(prefix=f"{user}-") as name:
            folder = Path(name)
            folder.chmod(0o755)
            shutil.chown(folder, user, user)
            yield folder

    def sbatch(self, *arguments: str, cwd: Path | None = None, user: str = "root") -> int:
        """Submit a job and return its number."""
        result = self.run(["sbatch", "--parsable", *arguments], cwd=cwd, user=user)
        return int(launching.require_success(result).stdout)

    def job(self, job_number: int | str) -> dict[str, str]:
        """Return the properties from `scontrol show job`, by name, of a job or of one task of an array."""
        result = launching.require_success(
            self.run(["scontrol", "show", "job", "--oneliner", str(job_number)])
        )
        return dict(re.findall(r"(\S+?)=(.*?)(?=\s+\S+?=|\s*$)", result.stdout.splitlines()[0]))

    def jobs(self) -> dict[str, str]:
        """Return the states of all jobs in Slurm's memory by number, tasks of arrays as JOB_TASK."""
        result = self.run(["squeue", "--states=all", "--noheader", "--array", "--format=%i %T"])
        return dict(line.split() for line in launching.require_success(result).stdout.splitlines())

    def log(self, job_number: int | str) -> str:
        """Return the printed output of a job up to now."""
        path = Path(self.job(job_number).get("StdOut", ""))
        return path.read_text() if path.is_file() else "no log"

    def wait(
        self, job_number: int | str, states: Iterable[str] = FINAL_STATES, seconds: float = 150
    ) -> dict[str, str]:
        """Wait until a job is in one of these states, and return its properties from `scontrol`."""
        expected_states = tuple(states)
        wait_until(
            lambda: self.job(job_number)["JobState"] in expected_states,
            seconds,
            lambda: f"{self.job(job_number)}\n{self.log(job_number)}",
        )
        return self.job(job_number)

    def wait_for_end(self, job_number: int, seconds: float) -> tuple[str, str]:
        """Wait for the end of a job that Slurm may have forgotten; return the state and the exit code.

        Both are those of Slurm's accounting.
        """

        def accounted() -> tuple[str, str]:
            command = ["sacct", "--allocations", "--noheader", "--parsable2", "--format=State,ExitCode"]
            result = self.run([*command, f"--jobs={job_number}"])
            state, exit_code = launching.require_success(result).stdout.splitlines()[-1].split("|")
            return state, exit_code

        wait_until(
            lambda: accounted()[0].split()[0] in FINAL_STATES,
            seconds,
            lambda: f"{accounted()}\n{self.jobs()}",
        )
        return accounted()

    def require_completion(self, job_number: int | str) -> dict[str, str]:
        """Wait for the end of a job, check that it completed, and return its properties."""
        properties = self.wait(job_number)
        assert properties["JobState"] == "COMPLETED", f"{properties}\n{self.log(job_number)}"
        return properties

    def signal(self, job_number: int | str, name: str) -> None:
        """Send a signal to a job's batch script only, as Slurm does before the time limit."""
        launching.require_success(self.run(["scancel", "--batch", f"--signal={name}", str(job_number)]))

    def cancel(self, job_number: int | str) -> None:
        """Cancel a job, as a user does."""
        launching.require_success(self.run(["scancel", str(job_number)]))

    def start_soon(self, job_number: int | str, seconds: int = 3) -> None:
        """Start a requeued job in a few seconds instead of two minutes.

        A start within the second of the requeue fails, because the revoked credential is still stored. After
        the loss of a node, a start within KillWait fails: the restarted node still kills steps of the job.
        """
        start = f"StartTime=now+{seconds}"
        launching.require_success(self.run(["scontrol", "update", f"jobid={job_number}", start]))

    def has_processes(self, job_number: int | str) -> bool:
        """Return whether a process of a job lives on any node."""
        variable = f"SLURM_JOB_ID={job_number}".encode()
        for process_id in daemons.processes_of(self.folder):
            with suppress(OSError):
                if variable in Path(f"/proc/{process_id}/environ").read_bytes().split(b"\0"):
                    return True
        return False

    def kill_node(self, name: str) -> None:
        """Kill slurmd and all processes of jobs on a node, and mark the node as down in the controller.

        A node is lost in one moment: no process sees the end of another and reports it. So all are stopped
        before the first is killed.
        """
        stopped: set[int] = set()
        while process_ids := set(daemons.processes_of(self.folder, name)) - stopped:
            for process_id in process_ids:
                with suppress(ProcessLookupError):
                    os.kill(process_id, signal.SIGSTOP)
            stopped |= process_ids
        for process_id in stopped:
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)
        wait_until(lambda: not daemons.processes_of(self.folder, name), 30, self._logs)
        self._update_node(name, "state=down", "reason=killed")

    def start_node(self, name: str) -> None:
        """Start a killed node, and wait until the node accepts jobs."""
        self._start(name)

        def is_available() -> bool:
            self._update_node(name, "state=resume", require_success=False)
            states = self.run(["sinfo", "--noheader", f"--nodes={name}", "--format=%T"]).stdout.split()
            return bool(states) and set(states) <= {"idle", "mixed", "allocated"}

        wait_until(is_available, 60, self._logs)

    @contextmanager
    def stopped_controller(self) -> Iterator[None]:
        """Stop the controller for the time of the `with` block."""
        process_id = int((self.folder / "slurmctld.pid").read_text())
        os.kill(process_id, signal.SIGTERM)
        wait_until(lambda: not Path(f"/proc/{process_id}").exists(), 30, self._logs)
        try:
            yield
        finally:
            self._start(daemons.CONTROLLER)
            wait_until(self._is_answering, 60, self._logs)

    def _start(self, daemon: str) -> None:
        assert self._keeper.stdin is not None
        self._keeper.stdin.write(f"{daemon}\n".encode())
        self._keeper.stdin.flush()

    def _is_answering(self) -> bool:
        return self.run(["scontrol", "ping"]).stdout.strip().endswith("UP")

    def _update_node(self, name: str, *values: str, require_success: bool = True) -> None:
        result = self.run(["scontrol", "update", f"nodename={name}", *values])
        if require_success:
            launching.require_success(result)

    @contextmanager
    def options(self, **values: str) -> Iterator[None]:
        """Change options of `slurm.conf` inside the `with` block."""
        path = self.folder / "slurm.conf"
        text = path.read_text()
        lines = [line for line in text.splitlines() if line.partition("=")[0] not in values]
        try:
            path.write_text("\n".join([*lines, *(f"{name}={value}" for name, value in values.items()), ""]))
            launching.require_success(self.run(["scontrol", "reconfigure"]))
            yield
        finally:
            path.write_text(text)
            launching.require_success(self.run(["scontrol", "reconfigure"]))

    @contextmanager
    def short_timeout(self) -> Iterator[None]:
        """Let commands wait 1 s instead of 10 s for an answer of the controller, inside the `with` block.

        The daemons keep the configuration with which they started.
        """
        path = self.folder / "slurm.conf"
        text = path.read_text()
        try:
            path.write_text(f"{text}MessageTimeout=1\n")
            yield
        finally:
            path.write_text(text)

    def forget_ended_jobs(self) -> None:
        """Let Slurm forget all jobs that have ended, as Slurm does after `MinJobAge`."""
        with self.options(MinJobAge="2"):
            wait_until(
                lambda: not set(self.jobs().values()) & set(FINAL_STATES), 60, lambda: f"{self.jobs()}"
            )

    def _is_up(self) -> bool:
        assert self._keeper.poll() is None, self._logs()
        if not (self.folder / "slurm.conf").exists():
            return False
        result = self.run(["sinfo", "--noheader", "--Node", "--partition=tests", "--format=%N %T"])
        return result.stdout.split() == [word for name in configuration.NODES for word in (name, "idle")]

    def _logs(self) -> str:
        """Return the last lines of the daemons' logs."""
        logs = sorted([*self.folder.glob("*.out"), *self.folder.glob("*.log")])
        return "\n".join(f"--- {path.name}\n{path.read_text()[-2000:]}" for path in logs)


def wait_until(condition: Callable[[], bool], seconds: float, describe_state: Callable[[], str]) -> None:
    """Wait until a condition holds, and fail with the last state after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, (
            f"the condition does not hold after {seconds} s\n{describe_state()}"
        )
        time.sleep(0.2)
