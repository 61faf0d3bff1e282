"""The train stage on two ranks that train a member each, of which the second does what RANK_1 says.

`sleeps`: its first validation takes twice as long as the first rank waits for a sign of life. `hangs`: its
process stops there for good. `fails`: it finds its checkpoints damaged. The first rank does not wait for the
second to tell of its own failure.
"""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta
from typing import Any

from pipeline import cli, train
from pipeline.parallel import launch
from pipeline.training import ensemble, loop

PATIENCE = 8.0

usual_training, usual_validation = ensemble.train_all, loop.rollout_error


def impatient(*arguments: Any, **named: Any) -> None:
    ensemble.TIMEOUT = timedelta(seconds=PATIENCE)
    usual_training(*arguments, **named)


def disturbed(*arguments: Any) -> float:
    if launch.detect().rank == 1:
        loop.rollout_error = usual_validation
        if os.environ["RANK_1"] == "hangs":
            os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(2 * PATIENCE)
    return usual_validation(*arguments)


if __name__ == "__main__":
    ensemble._REPORT_SECONDS = 0.0
    if os.environ["RANK_1"] != "fails":
        ensemble.train_all, loop.rollout_error = impatient, disturbed
    cli.main(train.run)
