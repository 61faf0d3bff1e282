"""A Slurm of two nodes for one test session: submit, wait, signal, show."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

from tests.jobs.slurm import daemons
from tests.support import launching

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "DEADLINE")


def unmet_requirement() -> str:
    """Return why no Slurm can start on this machine; empty where it can."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=daemons.PATH) is None]
    if missing:
        return f"{', '.join(missing)} not found; install the Debian packages slurm-wlm and munge"
    return "" if os.geteuid() == 0 else "only root can start a Slurm"


class Cluster:
    """A Slurm that runs inside its `with` block, with its logs in `folder`."""

    def __enter__(self) -> Self:
        # A short path instead of pytest's folder, because the path of a socket has at most 100 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        # In a separate session, Ctrl-C in the terminal does not reach the process that ends the daemons.
        self._keeper = subprocess.Popen(
            [sys.executable, daemons.__file__, str(self.folder)],
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

    def environment(self) -> dict[str, str]:
        """Return the environment of a user on the login node with this Python activated."""
        path = f"{Path(sys.executable).parent}:{daemons.PATH}"
        variables = launching.environment(SLURM_CONF=str(self.folder / "slurm.conf"), PATH=path)
        # Without oversubscription, Open MPI places as many ranks on a node as the job has slots there.
        del variables["PRTE_MCA_rmaps_default_mapping_policy"]
        return variables

    def run(
        self, command: list[str], timeout: float = 60, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the login node and return its result with any exit code."""
        environment = self.environment()
        return subprocess.run(
            command, cwd=cwd, env=environment, timeout=timeout, capture_output=True, text=True, check=False
        )

    def sbatch(self, *arguments: str, cwd: Path | None = None) -> int:
        """Submit a job and return its number."""
        result = self.run(["sbatch", "--parsable", *arguments], cwd=cwd)
        return int(launching.succeeded(result).stdout)

    def job(self, number: int | str) -> dict[str, str]:
        """Return the properties from `scontrol show job`, by name, of a job or of one task of an array."""
        result = launching.succeeded(self.run(["scontrol", "show", "job", "--oneliner", str(number)]))
        return dict(re.findall(r"(\S+?)=(.*?)(?=\s+\S+?=|\s*$)", result.stdout.splitlines()[0]))

    def jobs(self) -> dict[str, str]:
        """Return the states of all jobs in Slurm's memory by number, tasks of arrays as JOB_TASK."""
        result = self.run(["squeue", "--states=all", "--noheader", "--array", "--format=%i %T"])
        return dict(line.split() for line in launching.succeeded(result).stdout.splitlines())

    def log(self, number: int | str) -> str:
        """Return the printed output of a job up to now."""
        path = Path(self.job(number).get("StdOut", ""))
        return path.read_text() if path.is_file() else "no log"

    def wait(self, number: int | str, states: Iterable[str] = ENDED, seconds: float = 150) -> dict[str, str]:
        """Wait until a job is in one of these states; return its properties from `scontrol`."""
        expected_states = tuple(states)
        wait_until(
            lambda: self.job(number)["JobState"] in expected_states,
            seconds,
            lambda: f"{self.job(number)}\n{self.log(number)}",
        )
        return self.job(number)

    def succeeded(self, number: int | str) -> dict[str, str]:
        """Wait for the end of a job, check that it completed, and return its properties."""
        properties = self.wait(number)
        assert properties["JobState"] == "COMPLETED", f"{properties}\n{self.log(number)}"
        return properties

    def signal(self, number: int | str, name: str) -> None:
        """Send a signal to a job's batch script alone, as Slurm does before the time limit."""
        launching.succeeded(self.run(["scancel", "--batch", f"--signal={name}", str(number)]))

    def cancel(self, number: int | str) -> None:
        """Cancel a job, as a user does."""
        launching.succeeded(self.run(["scancel", str(number)]))

    def start_soon(self, number: int | str) -> None:
        """Let a requeued job start in 3 s, which Slurm otherwise delays by two minutes.

        A start within the second of the requeue fails, because the revoked credential is still stored.
        """
        launching.succeeded(self.run(["scontrol", "update", f"jobid={number}", "StartTime=now+3"]))

    def _is_up(self) -> bool:
        assert self._keeper.poll() is None, self._logs()
        if not (self.folder / "slurm.conf").exists():
            return False
        result = self.run(["sinfo", "--noheader", "--Node", "--partition=tests", "--format=%N %T"])
        return result.stdout.split() == [word for name in daemons.NODES for word in (name, "idle")]

    def _logs(self) -> str:
        """Return the last lines of the daemons' logs."""
        logs = sorted([*self.folder.glob("*.out"), *self.folder.glob("*.log")])
        return "\n".join(f"--- {path.name}\n{path.read_text()[-2000:]}" for path in logs)


def wait_until(condition: Callable[[], bool], seconds: float, describe_state: Callable[[], str]) -> None:
    """Wait until a condition holds; after `seconds`, fail with the last state."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, (
            f"the condition does not hold after {seconds} s\n{describe_state()}"
        )
        time.sleep(0.2)
