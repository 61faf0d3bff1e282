"""The train stage, in which a process gets a signal as it begins optimiser step KILL_AT_STEP of this attempt.

KILL_WITH names the signal, SIGKILL unless it is set, and KILL_RANK the one rank that gets it instead of all.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import torch

from pipeline import cli, train
from pipeline.parallel import launch


def kill_at(step: int, number: signal.Signals) -> None:
    usual = torch.optim.AdamW.step
    begun = 0

    def dying(self: torch.optim.AdamW, *arguments: Any) -> Any:
        nonlocal begun
        begun += 1
        if begun == step:
            os.kill(os.getpid(), number)
        return usual(self, *arguments)

    torch.optim.AdamW.step = dying  # type: ignore[method-assign]


if __name__ == "__main__":
    if os.environ.get("KILL_RANK", str(launch.detect().rank)) == str(launch.detect().rank):
        kill_at(int(os.environ["KILL_AT_STEP"]), signal.Signals[os.environ.get("KILL_WITH", "SIGKILL")])
    cli.main(train.run)
