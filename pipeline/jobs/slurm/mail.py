"""One mail at the end of a chain: a last job, after all others in any state, whose end Slurm reports.

Slurm's `--mail-type` on a job of the chain would miss the end of a chain whose earlier job failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files

from pipeline.config import overrides
from pipeline.config.settings import Launcher
from pipeline.jobs.slurm import queries, sbatch
from pipeline.runs.folder import RunFolder
from simsurrogate.errors import UserError

#: The options of `launcher.sbatch.all` that do not fit the small job.
_OPTIONS_OF_STAGES = ("time", "dependency", "mail-type", "mail-user")


def line(launcher: Launcher, run: RunFolder, keys: Sequence[str]) -> list[str]:
    """Return the sbatch command of the job, which starts when all jobs in `keys` have ended in any way.

    The job fails unless the chain is done. Slurm sends one mail about the end of the job.
    """
    name = run.path.absolute().name
    options: dict[str, str | int | bool] = {
        "parsable": True,
        "export": "ALL",
        "job-name": f"report-{name}",
        "ntasks": 1,
        "time": "00:10:00",
        "output": sbatch.log_path(run, "report-%j.out"),
        "dependency": f"afterany:{':'.join(keys)}",
        "mail-type": "END,FAIL",
        "mail-user": str(launcher.mail),
    }
    user_options = launcher.sbatch.get("all", {})
    options |= {key: value for key, value in user_options.items() if key not in _OPTIONS_OF_STAGES}
    run_argument = overrides.typed("run", run.path.absolute())
    return ["sbatch", *sbatch.option_arguments(options), str(files("slurm") / "report.sbatch"), run_argument]


def submit(launcher: Launcher, run: RunFolder) -> None:
    """Submit the job for the newest jobs of a chain, or let the waiting job wait for the new jobs, too.

    Raises:
        UserError: Slurm refuses the job.
    """
    record = sbatch.read_chain_record(run)
    if record is None or not launcher.mail:
        return
    newest_jobs = [job for jobs in record.newest_jobs().values() for job in jobs.values()]
    keys = list(dict.fromkeys(job.number for job in newest_jobs))
    if record.mail_job and queries.change_dependency(record.mail_job, f"afterany:{':'.join(keys)}"):
        return
    try:
        number = sbatch.submit(line(launcher, run, keys), run.job_setup)
    except UserError as error:
        raise UserError(
            f"the chain is submitted, but not its last job, which sends the mail: {error}"
        ) from None
    replace(record, mail_job=number).write(run)
