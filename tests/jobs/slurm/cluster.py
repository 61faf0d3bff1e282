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


def why_not() -> str:
    """Why no Slurm can be brought up here; empty where one can."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=daemons.PATH) is None]
    if missing:
        return f"no {', '.join(missing)} here: Debian has them in slurm-wlm and munge"
    return "" if os.geteuid() == 0 else "only root can bring up a Slurm"


class Cluster:
    """Slurm, from entering to leaving the context; its logs are in `folder` until then."""

    def __enter__(self) -> Self:
        # Not pytest's folder: a socket's path has room for 100 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        # A session of its own, so that Ctrl-C in the tests' terminal leaves it time to end the rest.
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
        """That of a user who is logged in to this cluster and has activated this Python."""
        path = f"{Path(sys.executable).parent}:{daemons.PATH}"
        found = launching.environment(SLURM_CONF=str(self.folder / "slurm.conf"), PATH=path)
        # As many ranks as the job has slots: where Open MPI may put more, the first node gets all of them.
        del found["PRTE_MCA_rmaps_default_mapping_policy"]
        return found

    def run(
        self, command: list[str], timeout: float = 60, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command on this cluster's login node, whatever its exit code."""
        environment = self.environment()
        return subprocess.run(
            command, cwd=cwd, env=environment, timeout=timeout, capture_output=True, text=True, check=False
        )

    def sbatch(self, *arguments: str, cwd: Path | None = None) -> int:
        """Submits a job; its number."""
        submitted = self.run(["sbatch", "--parsable", *arguments], cwd=cwd)
        return int(launching.succeeded(submitted).stdout)

    def job(self, number: int | str) -> dict[str, str]:
        """What `scontrol show job` says of a job or of one task of an array, by name."""
        shown = launching.succeeded(self.run(["scontrol", "show", "job", "--oneliner", str(number)]))
        return dict(re.findall(r"(\S+?)=(.*?)(?=\s+\S+?=|\s*$)", shown.stdout.splitlines()[0]))

    def jobs(self) -> dict[str, str]:
        """The state of every job that Slurm remembers; tasks of arrays as JOB_TASK."""
        shown = self.run(["squeue", "--states=all", "--noheader", "--array", "--format=%i %T"])
        return dict(line.split() for line in launching.succeeded(shown).stdout.splitlines())

    def log(self, number: int | str) -> str:
        """What a job has printed so far."""
        path = Path(self.job(number).get("StdOut", ""))
        return path.read_text() if path.is_file() else "no log"

    def wait(self, number: int | str, states: Iterable[str] = ENDED, seconds: float = 150) -> dict[str, str]:
        """Wait until a job is in one of these states; return its properties from `scontrol`."""
        wanted = tuple(states)
        wait_until(
            lambda: self.job(number)["JobState"] in wanted,
            seconds,
            lambda: f"{self.job(number)}\n{self.log(number)}",
        )
        return self.job(number)

    def succeeded(self, number: int | str) -> dict[str, str]:
        """Waits for a job's end, which has to be a good one."""
        found = self.wait(number)
        assert found["JobState"] == "COMPLETED", f"{found}\n{self.log(number)}"
        return found

    def signal(self, number: int | str, name: str) -> None:
        """Sends a signal to a job's batch script alone, as Slurm does before the time limit."""
        launching.succeeded(self.run(["scancel", "--batch", f"--signal={name}", str(number)]))

    def cancel(self, number: int | str) -> None:
        """Cancels a job, as a user does."""
        launching.succeeded(self.run(["scancel", str(number)]))

    def start_soon(self, number: int | str) -> None:
        """Lets a requeued job begin, which Slurm otherwise holds back for two minutes.

        Not in the second of its requeue, whose revoked credential would still stand against it.
        """
        launching.succeeded(self.run(["scontrol", "update", f"jobid={number}", "StartTime=now+3"]))

    def _is_up(self) -> bool:
        assert self._keeper.poll() is None, self._logs()
        if not (self.folder / "slurm.conf").exists():
            return False
        shown = self.run(["sinfo", "--noheader", "--Node", "--partition=tests", "--format=%N %T"])
        return shown.stdout.split() == [word for name in daemons.NODES for word in (name, "idle")]

    def _logs(self) -> str:
        """The ends of the daemons' logs."""
        logs = sorted([*self.folder.glob("*.out"), *self.folder.glob("*.log")])
        return "\n".join(f"--- {path.name}\n{path.read_text()[-2000:]}" for path in logs)


def wait_until(condition: Callable[[], bool], seconds: float, described: Callable[[], str]) -> None:
    """Wait, for a bounded time, until a condition holds; report the last state otherwise."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen within {seconds} s\n{described()}"
        time.sleep(0.2)
