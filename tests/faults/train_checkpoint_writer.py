"""An endless writer of checkpoints, which a test kills while it writes.

All tensors of a checkpoint hold its step, so a mixture of two checkpoints is detectable.
"""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

import torch

from pipeline.training import checkpoint
from pipeline.training.checkpoint import Checkpoint


def write_forever(folder: Path, steps: Connection) -> None:
    """Write checkpoints that continue from the newest checkpoint, and send the step of each."""
    torch.set_num_threads(1)
    newest_path = checkpoint.newest_intact(folder)
    step = 0 if newest_path is None else checkpoint.load(newest_path).step
    while True:
        step += 1
        tensors = {f"weights.{index}": torch.full((40_000,), float(step)) for index in range(8)}
        checkpoint.save(
            folder, Checkpoint(step, {"width": 8}, {"loss_sum": float(step)}, tensors), num_kept=3
        )
        steps.send(step)
