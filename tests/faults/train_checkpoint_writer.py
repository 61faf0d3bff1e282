"""Writes checkpoints without end, until it is killed: `train_checkpoint_writer.py FOLDER`.

Each one holds its own step in all tensors, so that a mixture of two would be seen.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from pipeline.training import checkpoint
from pipeline.training.checkpoint import Checkpoint


def main(folder: Path) -> None:
    newest = checkpoint.newest_good(folder)
    step = 0 if newest is None else checkpoint.load(newest).step
    while True:
        step += 1
        tensors = {f"weights.{place}": torch.full((40_000,), float(step)) for place in range(8)}
        checkpoint.save(folder, Checkpoint(step, {"width": 8}, {"loss_sum": float(step)}, tensors), keep=3)
        print(step, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
