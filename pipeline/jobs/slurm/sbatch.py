"""Which jobs a chain has, the sbatch line of each, and the paper in the run folder that lists them."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path

from pipeline.config.settings import Launcher
from simsurrogate.errors import UserError
from simsurrogate.files import writable_folder, write_whole


@dataclass(frozen=True)
class Job:
    """A job to be submitted: the stage it runs, and the tasks of its array where it is one."""

    name: str
    stage: str
    tasks: tuple[int, ...] = ()


@dataclass(frozen=True)
class Submitted:
    """A job that Slurm has taken, with its number there."""

    name: str
    stage: str
    tasks: tuple[int, ...]
    number: str
    line: tuple[str, ...]
    log: str

    @property
    def keys(self) -> list[str]:
        """What Slurm calls the job, or each of its tasks."""
        return [f"{self.number}_{task}" for task in self.tasks] if self.tasks else [self.number]


def jobs(parts: int) -> list[Job]:
    """The jobs of a chain, each of which waits for the one before.

    Generate's array makes the data set in parts; the job behind it finishes it.
    """
    rest = [Job(stage, stage) for stage in ("validate", "train", "evaluate")]
    if parts == 1:
        return [Job("generate", "generate"), *rest]
    return [Job("generate", "generate", tuple(range(parts))), Job("finish", "generate"), *rest]


def sbatch_line(
    job: Job, launcher: Launcher, run: Path, arguments: Sequence[str], after: Sequence[str]
) -> list[str]:
    """The command that submits a job, to begin when the jobs `after` have all ended well."""
    options: dict[str, str | int | bool] = {
        "parsable": True,
        "export": "ALL",
        "job-name": f"{job.name}-{run.absolute().name}",
        "ntasks": launcher.ranks[job.stage],  # type: ignore[index]
        "output": log_pattern(job, run),
    }
    if job.tasks:
        options["array"] = ",".join(map(str, job.tasks))
    if after:
        options |= {"dependency": f"afterok:{':'.join(after)}", "kill-on-invalid-dep": "yes"}
    options |= launcher.sbatch.get("all", {}) | launcher.sbatch.get(job.stage, {})  # type: ignore[call-overload]
    words = [
        f"--{name}" if value is True else f"--{name}={value}"
        for name, value in options.items()
        if value is not False
    ]
    return ["sbatch", *words, str(files("slurm") / f"{job.stage}.sbatch"), *arguments]


def log_pattern(job: Job, run: Path) -> str:
    """Where a job writes what it prints; %j, %A and %a are Slurm's.

    Raises:
        UserError: Slurm would take the name of the run folder for something else.
    """
    if set(str(run)) & set("\\\n"):
        raise UserError(f"run={str(run)!r}: Slurm takes no backslash or line break in the path of a log")
    folder = str(run.absolute() / "jobs" / "logs").replace("%", "%%")
    return f"{folder}/{job.name}-{'%A_%a' if job.tasks else '%j'}.out"


def submit(line: Sequence[str], setup: Path) -> str:
    """Hands a job to Slurm; its number.

    Raises:
        UserError: sbatch is not there, or refuses the job; the message is its own.
    """
    try:
        result = subprocess.run(
            line,
            env=os.environ | {"SIMSURROGATE_SETUP": str(setup)},
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise UserError(
            "sbatch was not found: launcher=slurm works where Slurm's commands are on PATH; "
            "launcher=local runs the chain here"
        ) from None
    if result.returncode != 0:
        raise UserError(f"Slurm refused the job: {result.stderr.strip()}\n  {shlex.join(line)}")
    return result.stdout.strip().split(";")[0]


def write_setup(run: Path, lines: Sequence[str]) -> Path:
    """The shell lines that each job runs first: they find this Python, unless the site's own find another."""
    path = setup_path(run)
    writable_folder(path.parent / "logs")
    write_whole(path, "\n".join([*setup_lines(lines), ""]))
    return path


def setup_lines(lines: Sequence[str]) -> list[str]:
    """The lines of `setup.sh`: what finds this Python, and those of `launcher.setup` behind it."""
    return [f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH", *lines]


def setup_path(run: Path) -> Path:
    """`RUN/jobs/setup.sh`."""
    return run.absolute() / "jobs" / "setup.sh"


@dataclass(frozen=True)
class Paper:
    """`RUN/jobs/chain.json`: the words of the command line, where it was typed, and all jobs so far."""

    arguments: tuple[str, ...]
    folder: str
    jobs: tuple[Submitted, ...]

    def write(self, run: Path) -> None:
        """Writes it whole."""
        write_whole(paper_path(run), json.dumps(asdict(self), indent=2))

    def newest(self) -> dict[str, dict[str, Submitted]]:
        """For each job by name and each of its keys (a task's number, or nothing) who was submitted last."""
        found: dict[str, dict[str, Submitted]] = {}
        for job in self.jobs:
            for task in job.tasks or ("",):
                found.setdefault(job.name, {})[str(task)] = job
        return found


def read_document(run: Path) -> Paper | None:
    """The paper of a run's chain, or None where no chain was submitted.

    Raises:
        UserError: it cannot be read.
    """
    path = paper_path(run)
    if not path.is_file():
        return None
    try:
        found: Mapping[str, list] = json.loads(path.read_text(encoding="utf-8"))
        taken = tuple(
            Submitted(**{**job, "tasks": tuple(job["tasks"]), "line": tuple(job["line"])})
            for job in found["jobs"]
        )
        return Paper(tuple(found["arguments"]), str(found["folder"]), taken)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); delete it and start the chain anew") from error


def paper_path(run: Path) -> Path:
    """`RUN/jobs/chain.json`."""
    return run / "jobs" / "chain.json"
