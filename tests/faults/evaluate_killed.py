"""The evaluate stage, killed when all files but the report are written."""

import os
import signal

from pipeline import cli, evaluate
from pipeline.evaluation.report import report


def render_killed(*arguments: object) -> str:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


if __name__ == "__main__":
    report.render = render_killed
    cli.main(evaluate.run)
