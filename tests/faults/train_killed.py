"""The train stage, with a signal to each rank in optimiser step KILL_AT_STEP of this attempt.

KILL_WITH names the signal, SIGKILL by default. KILL_RANK restricts the signal to one rank.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from pipeline import cli, train
from pipeline.parallel import launch
from pipeline.training.optim.adamw import AdamW


def kill_at(step: int, sent_signal: signal.Signals) -> None:
    """Send the signal to this process in a step of AdamW."""
    original_step = AdamW.step
    num_steps = 0

    def step_with_signal(self: AdamW, *arguments: Any) -> Any:
        nonlocal num_steps
        num_steps += 1
        if num_steps == step:
            os.kill(os.getpid(), sent_signal)
        return original_step(self, *arguments)

    AdamW.step = step_with_signal  # type: ignore[method-assign]


if __name__ == "__main__":
    if os.environ.get("KILL_RANK", str(launch.detect().rank)) == str(launch.detect().rank):
        kill_at(int(os.environ["KILL_AT_STEP"]), signal.Signals[os.environ.get("KILL_WITH", "SIGKILL")])
    cli.main(train.run)
