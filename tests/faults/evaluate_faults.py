"""The evaluate stage with one fault.

python -m tests.faults.evaluate_faults killed run=...    killed after all files except the report are written
mpirun -n 2 python -m tests.faults.evaluate_faults stopped run=...    rank 1 stops before its first batch
"""

import os
import signal
import sys
from datetime import timedelta

from pipeline import cli, evaluate
from pipeline.evaluation import measure
from pipeline.evaluation.report import report
from pipeline.parallel import heartbeats, launch


def kill_process(*arguments: object) -> str:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


def stop_rank(*arguments: object) -> None:
    """Stop this process with SIGSTOP."""
    os.kill(os.getpid(), signal.SIGSTOP)


if __name__ == "__main__":
    fault = sys.argv.pop(1)
    if fault == "killed":
        report.render = kill_process
    elif launch.detect().rank == 1:
        measure.load = stop_rank
    heartbeats.TIMEOUT = timedelta(seconds=2)
    cli.main(evaluate.run)
