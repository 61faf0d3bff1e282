"""The launcher of one stage inside a job. Inside a Slurm job it requeues the job when its time is up.

python -m pipeline.jobs.step STAGE KEY=VALUE ...      # in slurm/STAGE.sbatch, and under other schedulers
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from functools import partial
from typing import cast

from pipeline import cli
from pipeline.config import overrides
from pipeline.config.settings import Settings, Stage
from pipeline.jobs import local, outcome
from pipeline.jobs.slurm import requeue, retries
from pipeline.parallel import stopping
from pipeline.runs import records
from pipeline.runs.folder import RunFolder
from simsurrogate.errors import UserError

#: Stages that save intermediate states, so a requeued job continues.
_RESUMABLE_STAGES = ("generate", "train")


def run(stage: Stage, arguments: list[str], settings: Settings) -> None:
    """Run the stage on the ranks of this job, and exit with its exit code unless the stage is complete.

    The run record of this job determines whether the stage is complete. Slurm sends SIGUSR1 before the time
    is up, and the batch script repeats the signal. The stage receives the signal once all ranks listen. A job
    is requeued if its stage made progress and stopped on the signal, or if its launcher returned 0 before the
    stage was complete. A job that Slurm preempts is requeued also without progress. A job whose stage failed
    is requeued at most `launcher.retries` times.

    Raises:
        UserError: the launcher returned 0, or the stage stopped, and the stage made no progress in this job.
    """
    ranks = _num_ranks(settings.launcher.ranks[stage], os.environ)  # type: ignore[index]
    if stage == "generate":
        arguments = overrides.inserted(_part_override(settings.launcher.parts, os.environ), arguments)
    command = local.command(stage, arguments, ranks, settings.launcher.launch_line(stage))
    number_before, job = records.last_number(settings.run, stage), os.environ.get("SLURM_JOB_ID")
    with local.start(command, environment()) as process:

        def forward_signal(signal_number: int, frame: object) -> None:
            # mpirun passes the signal to its ranks, and the signal would kill a rank that has just started.
            if outcome.listens(settings.run, stage, number_before, job):
                process.send_signal(signal_number)

        signal.signal(signal.SIGUSR1, forward_signal)
        exit_code = process.wait()
    # At its end Python resets its handlers, and a repeated signal would replace the exit code.
    stopping.ignore()
    record = outcome.newest_record(settings.run, stage, number_before, job)
    if record.get("outcome") == "complete":
        if exit_code:
            print(f"note: the launch command ended with exit code {exit_code} after {stage} was complete")
        return
    if job and stage in _RESUMABLE_STAGES and requeue.is_preempted(requeue.own_key()):
        requeue.requeue_preempted(requeue.own_key(), stage)
        sys.exit(stopping.EXIT_CODE)
    is_stopped = exit_code == stopping.EXIT_CODE or record.get("outcome") == "interrupted"
    is_lost = exit_code == 0 and record.get("outcome") in ("running", "killed")
    if job and (is_stopped or (is_lost and stage in _RESUMABLE_STAGES and requeue.has_progress(record))):
        requeue.requeue(requeue.own_key(), stage, record)
        sys.exit(stopping.EXIT_CODE)
    if (
        job
        and retries.is_repeatable(exit_code, record)
        and retries.start_again(RunFolder.of(settings), stage, exit_code, settings.launcher.retries)
    ):
        sys.exit(stopping.EXIT_CODE)
    if exit_code == 0:
        outcome.require_complete(settings.run, stage, record)
    # The exit code of a process ended by a signal is minus the signal's number.
    sys.exit(exit_code if exit_code >= 0 else 128 - exit_code)


def _num_ranks(ranks: int, variables: Mapping[str, str]) -> int:
    """Return the number of ranks: Slurm's tasks, or `ranks` under another scheduler.

    Another scheduler requeues a job by its exit code, 75 after a signal.
    """
    return int(variables.get("SLURM_NTASKS", "1" if "SLURM_JOB_ID" in variables else ranks))


def _part_override(num_parts: int, variables: Mapping[str, str]) -> list[str]:
    """Return the override for a task of a job array: its part of the data set.

    Raises:
        UserError: the tasks are not numbered from 0 without gaps, so the number of parts is unknown.
    """
    if "SLURM_ARRAY_TASK_ID" not in variables:
        return []
    task = int(variables["SLURM_ARRAY_TASK_ID"])
    if num_parts == 1:
        num_parts = int(variables["SLURM_ARRAY_TASK_COUNT"])
        first, last = int(variables["SLURM_ARRAY_TASK_MIN"]), int(variables["SLURM_ARRAY_TASK_MAX"])
        if (first, last) != (0, num_parts - 1):
            raise UserError(
                f"the array has {num_parts} tasks other than 0 to {num_parts - 1}. The number of parts of "
                "the data set is unknown. Submit the job with --array=0-N, or type launcher=slurm "
                "launcher.parts=N"
            )
    return [f"part=[{task},{num_parts}]"]


def environment() -> dict[str, str]:
    """Return an environment with one thread for each processor of a rank.

    Open MPI binds a rank to one core by default, so ranks with several threads are not bound.
    """
    threads = os.environ.get("SLURM_CPUS_PER_TASK", "1")
    defaults = {"OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads, "SRUN_CPUS_PER_TASK": threads}
    has_one_thread = threads == os.environ.get("OMP_NUM_THREADS", "1") == "1"
    return local.with_defaults(defaults if has_one_thread else defaults | local.WITHOUT_BINDING)


if __name__ == "__main__":
    stage_name, *stage_arguments = sys.argv[1:]
    sys.argv[1:] = stage_arguments
    cli.main(partial(run, cast(Stage, stage_name), stage_arguments))
