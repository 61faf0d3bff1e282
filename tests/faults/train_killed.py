"""The train stage, whose process is killed as it begins optimiser step KILL_AT_STEP of this attempt."""

from __future__ import annotations

import os
import signal
from typing import Any

import torch

from pipeline import cli, train


def kill_at(step: int) -> None:
    usual = torch.optim.AdamW.step
    begun = 0

    def dying(self: torch.optim.AdamW, *arguments: Any) -> Any:
        nonlocal begun
        begun += 1
        if begun == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return usual(self, *arguments)

    torch.optim.AdamW.step = dying  # type: ignore[method-assign]


if __name__ == "__main__":
    kill_at(int(os.environ["KILL_AT_STEP"]))
    cli.main(train.run)
