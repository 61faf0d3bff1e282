"""Two trainings of two members on two ranks: rank 1 is slow in the first training and hangs in the second.

`train_members.py SLOW_RUN OVERRIDES...` first trains in the folder SLOW_RUN. Rank 1 waits in its first
validation until rank 0 has waited longer than the timeout. The second training is in the run folder of the
overrides, and rank 1 hangs forever. With RANK_1=fails in the environment there is no SLOW_RUN and no delay.
A rank ends at once after a failure of the other rank.
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
from tests.support.trainings.training_cases import no_curves, read_settings

TIMEOUT_SECONDS = 3.0
progress_objects: list[ensemble._SharedProgress] = []
original_init, original_validation = ensemble._SharedProgress.__init__, loop.rollout_error


def init_and_store(self: ensemble._SharedProgress, *arguments: Any) -> None:
    """Initialise the progress that the ranks share, and remember the object."""
    original_init(self, *arguments)
    progress_objects.append(self)


def delayed_validation(*arguments: Any) -> float:
    """Validate, on rank 1 after rank 0 has waited longer than `TIMEOUT_SECONDS`."""
    if launch.detect().rank == 1:
        loop.rollout_error = original_validation
        while int(progress_objects[-1].store.add("finished", 0)) == 0:
            time.sleep(0.05)
        time.sleep(1.3 * TIMEOUT_SECONDS)
    return original_validation(*arguments)


def hanging_validation(*arguments: Any) -> float:
    """Hang on rank 1, and validate on rank 0."""
    if launch.detect().rank == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    return original_validation(*arguments)


if __name__ == "__main__":
    ensemble._REPORT_SECONDS = 0.0
    fit.draw_curves = no_curves
    if os.environ.get("RANK_1") != "fails":
        ensemble._HEARTBEAT_SECONDS, ensemble.TIMEOUT = 0.2, timedelta(seconds=TIMEOUT_SECONDS)
        ensemble._SharedProgress.__init__ = init_and_store  # type: ignore[method-assign]
        loop.rollout_error = delayed_validation
        train.run(read_settings(*sys.argv[2:], f"run={sys.argv.pop(1)}"))
        loop.rollout_error = hanging_validation
    cli.main(train.run)
