"""A training on two ranks: rank 1 hangs in its fourth step, and rank 0 waits 2 s for the gradients."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from pathlib import Path

import torch

from pipeline.parallel import gradient_allreduce
from pipeline.parallel.ranks import init_ranks
from pipeline.training.step import data_parallel
from surrogates import store
from tests.support import problems

if __name__ == "__main__":
    gradient_allreduce.TIMEOUT = timedelta(seconds=2)
    problem = problems.grid_problem((20,), ("periodic",))
    with init_ranks("cpu", Path.cwd()) as ranks:
        surrogate = store.build("fno", problems.options("fno"), problem, "float32")
        model = data_parallel(surrogate, ranks)
        for step in range(1, 5):
            if step == 4 and ranks.rank == 1:
                os.kill(os.getpid(), signal.SIGSTOP)
            losses = model(problems.batch(problem, 2))
            torch.autograd.backward(torch.stack(list(losses.values())).sum())
