"""One stage inside a Slurm job: its ranks, and its return to the queue when its time is up.

python -m pipeline.jobs.step STAGE KEY=VALUE ...      # the last line of slurm/STAGE.sbatch
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import partial

from pipeline import cli
from pipeline.config.settings import Settings
from pipeline.jobs import local
from pipeline.parallel import stopping
from pipeline.runs import records
from simsurrogate.errors import UserError


def run(stage: str, arguments: list[str], settings: Settings) -> None:
    """Runs the stage on the ranks of this job, and ends with its exit code.

    SIGUSR1, which Slurm sends before the time is up, goes on to the stage. One that has stopped so is queued
    again; one that has made no progress in this job ends instead.
    """
    ranks = int(os.environ.get("SLURM_NTASKS", "1"))
    if stage == "generate":
        arguments = _beside_others(arguments, _part(settings.launcher.parts, os.environ))
    command = local.command(stage, arguments, ranks, settings.launcher.mpirun)
    with local.start(command, _environment()) as process:

        def pass_on(number: int, frame: object) -> None:
            process.send_signal(number)

        signal.signal(signal.SIGUSR1, pass_on)
        exit_code = process.wait()
    if exit_code == stopping.EXIT_CODE:
        _queue_again(stage, settings)
    # A process that a signal ended has minus its number.
    sys.exit(exit_code if exit_code >= 0 else 128 - exit_code)


def _part(parts: int, variables: Mapping[str, str]) -> list[str]:
    """The override for a task of a job array: its share of the data set.

    Raises:
        UserError: the array is not 0, 1, ..., so that the tasks do not tell into how many parts it goes.
    """
    if "SLURM_ARRAY_TASK_ID" not in variables:
        return []
    task = int(variables["SLURM_ARRAY_TASK_ID"])
    if parts == 1:
        parts = int(variables["SLURM_ARRAY_TASK_COUNT"])
        if (int(variables["SLURM_ARRAY_TASK_MIN"]), int(variables["SLURM_ARRAY_TASK_MAX"])) != (0, parts - 1):
            raise UserError(
                f"the array has {parts} tasks, which are not 0 to {parts - 1}: submit it with --array=0-N, "
                "or say with launcher=slurm launcher.parts=N into how many parts the data set goes"
            )
    return [f"part=[{task},{parts}]"]


def _beside_others(arguments: list[str], overrides: list[str]) -> list[str]:
    """The words with overrides added where others are: Hydra wants all of them in one place."""
    for place, word in enumerate(arguments):
        if "=" in word and not word.startswith("-") and arguments[place - 1 : place] not in _WITH_VALUE:
            return [*arguments[:place], *overrides, *arguments[place:]]
    return [*arguments, *overrides]


#: Hydra's options that take the next word.
_WITH_VALUE = [
    [name]
    for name in ("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--package", "-p")
]


def _environment() -> dict[str, str]:
    """As many threads a rank as the job has processors for each."""
    threads = os.environ.get("SLURM_CPUS_PER_TASK", "1")
    return local.with_defaults(
        {"OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads, "SRUN_CPUS_PER_TASK": threads}
    )


def _queue_again(stage: str, settings: Settings) -> None:
    """Puts this job back into the queue.

    Raises:
        UserError: the stage came no further in this job.
    """
    job = os.environ["SLURM_JOB_ID"]
    mine = [record for record in records.of_stage(settings.run, stage) if record["slurm"].get("job") == job]
    reached = mine[-1].get("progress", {}) if mine else {}
    if not reached or reached["done"] <= reached["start"]:
        raise UserError(
            f"{stage} was stopped before its time was up and had made no progress in this job: queued again "
            "it would go round for ever. Give it more time (sbatch --time), or make its steps shorter: "
            "samples.per_shard, training.steps"
        )
    print(
        f"{stage} reached {reached['done']} of {reached['total']} {reached['unit']}: queued again", flush=True
    )
    subprocess.run(["scontrol", "requeue", job], check=True, timeout=60)


if __name__ == "__main__":
    chosen, *words = sys.argv[1:]
    sys.argv[1:] = words
    cli.main(partial(run, chosen, words))
