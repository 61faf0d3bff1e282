"""Computes shared gradients; each rank prints the communication threads it has while joined, and after."""

from __future__ import annotations

from pathlib import Path

import torch

from pipeline.parallel.ranks import init_ranks
from tests.faults.train_gradients import gradients
from tests.support import problems


def communication_threads() -> int:
    names = [(task / "comm").read_text() for task in Path("/proc/self/task").iterdir()]
    return sum("gloo" in name for name in names)


if __name__ == "__main__":
    with init_ranks("cpu", Path.cwd()) as ranks:
        gradients("fno", "float32", ranks, problems.learnable_problem("fno"))
        ranks.sum(torch.ones(1))
        joined = communication_threads()
    print(f"{joined} {communication_threads()}\n", end="", flush=True)
