"""Runs evaluate and kills it when all is written but the report."""

import os
import signal

from pipeline import cli, evaluate
from pipeline.evaluation.report import report


def killed(*arguments: object) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


if __name__ == "__main__":
    report.render = killed
    cli.main(evaluate.run)
