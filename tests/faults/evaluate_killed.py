"""The evaluate stage, killed after all files except the report are written."""

import os
import signal

from pipeline import cli, evaluate
from pipeline.evaluation.report import report


def kill_process(*arguments: object) -> str:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


if __name__ == "__main__":
    report.render = kill_process
    cli.main(evaluate.run)
