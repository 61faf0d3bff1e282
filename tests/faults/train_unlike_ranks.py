"""A step of L-BFGS on ranks that round differently.

Each rank prints a hash of its final weights. On all ranks except rank 0, dot products are a millionth too
large.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from pipeline.parallel.ranks import init_ranks
from pipeline.training.optim.lbfgs import lbfgs
from pipeline.training.train_state import TrainState
from surrogates import store
from tests.support import problems
from tests.support.trainings.training_cases import read_settings

FINISH = "training.finish={method: lbfgs, steps: 1, iterations: 20}"

original_dot = torch.Tensor.dot

if __name__ == "__main__":
    problem = problems.grid_problem((20,), ("periodic",))
    with init_ranks("cpu", Path.cwd()) as ranks:
        if not ranks.is_first:
            torch.Tensor.dot = lambda self, other: 1.000001 * original_dot(self, other)  # type: ignore[method-assign]
        torch.manual_seed(0)
        surrogate = store.build("fno", problems.options("fno"), problem, "float64")
        state = TrainState(surrogate, torch.optim.AdamW(surrogate.parameters()))
        micro_batches = [problems.batch(problem, 2 + ranks.rank, dtype=torch.float64)]
        lbfgs(
            surrogate,
            micro_batches,
            state,
            read_settings(FINISH, "training.precision=float64").training,
            ranks,
        )
    weights = torch.nn.utils.parameters_to_vector(surrogate.parameters()).detach()
    print(f"{hashlib.sha256(weights.numpy().data).hexdigest()}\n", end="", flush=True)
