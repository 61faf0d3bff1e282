"""The launcher of the probe inside a Slurm job, with the environment and the launch line of a stage.

python -m pipeline.jobs.probe_step STAGE FOLDER KEY=VALUE ...     # in slurm/probe.sbatch
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import cast

from pipeline import cli
from pipeline.config.settings import Settings, Stage
from pipeline.jobs import local, step
from pipeline.jobs.probe_report import lock_path, token_path
from pipeline.runs import lock
from simsurrogate.documents import read_text

#: The time (s) that the ranks have. The job has one minute.
LONGEST_SECONDS = 45


def run(stage: Stage, folder: Path, settings: Settings) -> None:
    """Hold the lock of the probe, start its ranks as those of a stage, and exit with their exit code."""
    ranks = int(os.environ.get("SLURM_NTASKS", "1"))
    token = read_text(token_path(folder), "Make the run folder visible on all nodes").decode()
    command = local.command("probe", [str(folder), token], ranks, settings.launcher.launch_line(stage))
    with lock.hold(lock_path(folder)), local.start(command, step.environment()) as process:
        try:
            exit_code = process.wait(LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            process.terminate()
            print(f"error: the ranks did not end within {LONGEST_SECONDS} s", file=sys.stderr, flush=True)
            exit_code = 1
    sys.exit(exit_code if exit_code >= 0 else 128 - exit_code)


if __name__ == "__main__":
    stage_name, probe_folder, *stage_arguments = sys.argv[1:]
    sys.argv[1:] = stage_arguments
    cli.main(partial(run, cast(Stage, stage_name), Path(probe_folder)))
