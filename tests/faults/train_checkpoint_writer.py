"""A writer of checkpoints that never ends, to be killed while it writes.

All tensors of a checkpoint hold its step, so that a mixture of two checkpoints is visible.
"""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

import torch

from pipeline.training import checkpoint
from pipeline.training.checkpoint import Checkpoint


def write_forever(folder: Path, steps: Connection) -> None:
    """Write checkpoints, from the newest one on, and send the step of each."""
    torch.set_num_threads(1)
    newest = checkpoint.newest_good(folder)
    step = 0 if newest is None else checkpoint.load(newest).step
    while True:
        step += 1
        tensors = {f"weights.{index}": torch.full((40_000,), float(step)) for index in range(8)}
        checkpoint.save(folder, Checkpoint(step, {"width": 8}, {"loss_sum": float(step)}, tensors), keep=3)
        steps.send(step)
