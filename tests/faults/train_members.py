"""Trainings of two members on two ranks, of which rank 1 is slow in one and hangs in the other.

`train_members.py SLOW_RUN OVERRIDES...` trains in the folder SLOW_RUN; rank 1 waits in its first validation
until rank 0 has waited for it longer than its timeout. Then it trains in the run folder of the overrides,
where rank 1 hangs for good. With RANK_1=fails in the environment there is no SLOW_RUN and no disturbance, and
no rank leaves another one time to report its error.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from datetime import timedelta
from typing import Any

from pipeline import cli, train
from pipeline.parallel import launch
from pipeline.training import ensemble, fit, loop
from tests.support.training_cases import no_curves, read

PATIENCE = 3.0
progress: list[ensemble._SharedProgress] = []
original_init, original_validation = ensemble._SharedProgress.__init__, loop.rollout_error


def remembered(self: ensemble._SharedProgress, *arguments: Any) -> None:
    """Remember the progress that the ranks share."""
    original_init(self, *arguments)
    progress.append(self)


def slow(*arguments: Any) -> float:
    """Wait, on rank 1, until rank 0 has finished its member and waited longer than `PATIENCE`."""
    if launch.detect().rank == 1:
        loop.rollout_error = original_validation
        while int(progress[-1].store.add("finished", 0)) == 0:
            time.sleep(0.05)
        time.sleep(1.3 * PATIENCE)
    return original_validation(*arguments)


def hanging(*arguments: Any) -> float:
    """Hang, on rank 1."""
    if launch.detect().rank == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    return original_validation(*arguments)


if __name__ == "__main__":
    ensemble._REPORT_SECONDS = 0.0
    fit.draw_curves = no_curves
    if os.environ.get("RANK_1") != "fails":
        ensemble._HEARTBEAT_SECONDS, ensemble.TIMEOUT = 0.2, timedelta(seconds=PATIENCE)
        ensemble._SharedProgress.__init__ = remembered  # type: ignore[method-assign]
        loop.rollout_error = slow
        train.run(read(*sys.argv[2:], f"run={sys.argv.pop(1)}"))
        loop.rollout_error = hanging
    cli.main(train.run)
