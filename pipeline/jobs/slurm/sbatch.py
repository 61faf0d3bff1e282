"""The jobs of a chain, their sbatch commands, and their record in the run folder."""

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

from pipeline.config.settings import JobName, Launcher, Stage
from pipeline.runs.folder import RunFolder
from simsurrogate.documents import read_json
from simsurrogate.errors import UserError
from simsurrogate.files import writable_folder, write_whole

#: Beginnings of the names of variables that a job of Slurm or a launcher inside a job sets.
_VARIABLES_OF_A_JOB = ("SLURM", "SRUN_", "PMI_", "PMIX_", "OMPI_", "PRTE_")

#: The shell function that ends a job after a failed line of `launcher.setup`.
_CHECK_FUNCTION = (
    """check_setup() { [ "$1" = 0 ] || { echo "error: a line of launcher.setup failed with exit code $1: """
    """$2. Every line must succeed. Correct the line, or add || true to a line that may fail" >&2; """
    """exit 1; }; }"""
)


@dataclass(frozen=True)
class Job:
    """A job to submit, with its stage and, for an array, the numbers of its tasks.

    In a sweep each model has jobs of its own, and `model` is the model's name.
    """

    kind: JobName
    stage: Stage
    tasks: tuple[int, ...] = ()
    model: str = ""

    @property
    def name(self) -> str:
        """The name of the job in its chain: `train`, or `train-fno` in a sweep."""
        return f"{self.kind}-{self.model}" if self.model else self.kind


@dataclass(frozen=True)
class SubmittedJob:
    """A submitted job with its number in Slurm, its sbatch command and the pattern of its log's path."""

    name: str
    stage: Stage
    tasks: tuple[int, ...]
    number: str
    line: tuple[str, ...]
    log: str

    @property
    def keys(self) -> list[str]:
        """Slurm's names of the job or of each task of its array."""
        return [f"{self.number}_{task}" for task in self.tasks] if self.tasks else [self.number]


def jobs(parts: int, model: str = "") -> list[Job]:
    """Return the jobs of a chain. Each job waits for the previous job.

    Generate's array makes the data set in parts; the next job, `finish`, completes the data set. `model` is
    the name of the model in a sweep.
    """
    later_jobs = [
        Job("validate", "validate"),
        Job("train", "train", model=model),
        Job("evaluate", "evaluate", model=model),
    ]
    if parts == 1:
        return [Job("generate", "generate"), *later_jobs]
    return [Job("generate", "generate", tuple(range(parts))), Job("finish", "generate"), *later_jobs]


def sbatch_line(
    job: Job, launcher: Launcher, run: RunFolder, arguments: Sequence[str], dependencies: Sequence[str]
) -> list[str]:
    """Return the command that submits a job to start when all jobs in `dependencies` have succeeded."""
    options: dict[str, str | int | bool] = {
        "parsable": True,
        "export": "ALL",
        "job-name": f"{job.name}-{run.path.absolute().name}",
        "ntasks": launcher.ranks[job.kind],
        "output": log_pattern(job, run),
    }
    if job.tasks:
        at_once = f"%{launcher.parts_at_once}" if launcher.parts_at_once else ""
        options["array"] = ranges(job.tasks) + at_once
    user_options = options_of_user(job, launcher)
    conditions = [f"afterok:{':'.join(dependencies)}"] if dependencies else []
    if user_options.get("dependency"):
        conditions.append(str(user_options["dependency"]))
    if conditions:
        options |= {"dependency": ",".join(conditions), "kill-on-invalid-dep": "yes"}
    options |= {name: value for name, value in user_options.items() if name != "dependency"}
    return ["sbatch", *option_arguments(options), str(files("slurm") / f"{job.stage}.sbatch"), *arguments]


def option_arguments(options: Mapping[str, str | int | bool]) -> list[str]:
    """Return options as arguments of sbatch. True marks an option without a value, and False no option."""
    return [
        f"--{name}" if value is True else f"--{name}={value}"
        for name, value in options.items()
        if value is not False
    ]


def options_of_user(job: Job, launcher: Launcher) -> dict[str, str | int | bool]:
    """Return the options of `launcher.sbatch` for a job: those of all jobs, and those of its own table."""
    return launcher.sbatch.get("all", {}) | launcher.sbatch.get(job.kind, {})


def ranges(tasks: Sequence[int]) -> str:
    """Return ascending numbers in Slurm's notation, such as `0-3,7`."""
    texts: list[str] = []
    first = tasks[0]
    for task, next_task in zip(tasks, [*tasks[1:], -1], strict=True):
        if next_task != task + 1:
            texts.append(str(task) if task == first else f"{first}-{task}")
            first = next_task
    return ",".join(texts)


def log_pattern(job: Job, run: RunFolder) -> str:
    """Return the path of a job's log with Slurm's placeholders %j, %A and %a.

    Raises:
        UserError: see `log_path`.
    """
    return log_path(run, f"{job.name}-{'%A_%a' if job.tasks else '%j'}.out")


def log_path(run: RunFolder, name: str) -> str:
    """Return the path of a log for the option --output; `name` may hold Slurm's placeholders.

    Raises:
        UserError: Slurm interprets characters in the path of the run folder.
    """
    if set(str(run.path)) & set("\\\n"):
        raise UserError(
            f"run={str(run.path)!r}: Slurm takes no backslash or line break in the path of a log. "
            "Choose another folder with run="
        )
    folder = str(run.job_logs).replace("%", "%%")
    return f"{folder}/{name}"


def submit(line: Sequence[str], setup: Path) -> str:
    """Submit a job and return its number.

    Raises:
        UserError: sbatch is not installed, or refuses the job; the message contains Slurm's message.
    """
    try:
        result = subprocess.run(
            line,
            env=_submission_environment() | {"SIMSURROGATE_SETUP": str(setup)},
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise UserError(
            "sbatch was not found. launcher=slurm needs Slurm's commands on PATH. "
            "Type launcher=local to run the chain on this machine"
        ) from None
    if result.returncode != 0:
        raise UserError(f"Slurm refused the job: {result.stderr.strip()}\n  {shlex.join(line)}")
    return result.stdout.strip().split(";")[0]


def _submission_environment() -> dict[str, str]:
    """Return this environment; inside a Slurm job, without the variables that belong to that job.

    Slurm passes the variables on, and the new job would take the memory, the step or the array task of the
    job that submits.
    """
    variables = dict(os.environ)
    if "SLURM_JOB_ID" not in variables:
        return variables
    return {
        name: value
        for name, value in variables.items()
        if name == "SLURM_CONF" or not name.startswith(_VARIABLES_OF_A_JOB)
    }


def write_setup(run: RunFolder, lines: Sequence[str]) -> None:
    """Write the shell lines that each job runs first."""
    writable_folder(run.job_logs)
    write_whole(run.job_setup, setup_text(lines))


def setup_text(lines: Sequence[str]) -> str:
    """Return the content of `setup.sh`, see `setup_lines`."""
    return "\n".join([*setup_lines(lines), ""])


def setup_lines(lines: Sequence[str]) -> list[str]:
    """Return the lines of `setup.sh`, which add this Python to PATH and run those of `launcher.setup`.

    A failed line of `launcher.setup` ends the job with a message that names the line.
    """
    python_line = f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
    if not lines:
        return [python_line]
    return [python_line, _CHECK_FUNCTION, *(part for line in lines for part in (line, _check(line)))]


def _check(line: str) -> str:
    """Return the shell line that checks the exit code of `line`."""
    return f"check_setup $? {shlex.quote(line)}"


@dataclass(frozen=True)
class ChainRecord:
    """The content of `RUN/jobs/chain.json`.

    Attributes:
        arguments: the command line that `resume` repeats; that of the sweep if several models share the data.
        folder: the working folder of the command line.
        jobs: all jobs so far.
        data: the hash of the options that determine the data set.
        sweep: the command line of the sweep that started the chain; empty without a sweep.
        mail_job: the number of the job whose end Slurm reports by mail; empty without `launcher.mail`.
    """

    arguments: tuple[str, ...]
    folder: str
    jobs: tuple[SubmittedJob, ...]
    data: str = ""
    sweep: tuple[str, ...] = ()
    mail_job: str = ""

    def write(self, run: RunFolder) -> None:
        """Write the record."""
        write_whole(run.chain_record, json.dumps(asdict(self), indent=2))

    def newest_jobs(self) -> dict[str, dict[str, SubmittedJob]]:
        """Return the newest job by name and task number, which is empty for a job without an array."""
        newest_jobs: dict[str, dict[str, SubmittedJob]] = {}
        for job in self.jobs:
            for task in job.tasks or ("",):
                newest_jobs.setdefault(job.name, {})[str(task)] = job
        return newest_jobs


def read_chain_record(run: RunFolder) -> ChainRecord | None:
    """Return the record of a run's chain, or None if no chain was submitted.

    Raises:
        UserError: the file cannot be read.
    """
    path = run.chain_record
    if not path.is_file():
        return None
    return read_json(path, ChainRecord, "Delete the file and start the chain again")
