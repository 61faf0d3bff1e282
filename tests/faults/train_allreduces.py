"""Three steps of a batch in four parts; each rank prints how often gradients went by MPI."""

from __future__ import annotations

from pathlib import Path

import torch

from pipeline.parallel.gradient_allreduce import mean_over_ranks
from pipeline.parallel.ranks import init_ranks
from pipeline.training import step as updating
from pipeline.training.step import data_parallel, train_step
from pipeline.training.train_state import TrainState
from surrogates import store
from tests.support import problems
from tests.support.training_cases import read

if __name__ == "__main__":
    options = read("training.gradient_accumulation_steps=4").training
    problem = problems.problem((20,), ("periodic",))
    with init_ranks("cpu", Path.cwd()) as ranks:
        torch.manual_seed(0)
        surrogate = store.build("fno", problems.options("fno"), problem, "float32")
        state = TrainState(surrogate, torch.optim.AdamW(surrogate.parameters()))
        exchanges = []

        # Without annotations: torch compares them with the types themselves, and here they are text.
        def counted(communicator, bucket):  # type: ignore[no-untyped-def]
            exchanges.append(bucket.index())
            return mean_over_ranks(communicator, bucket)

        updating.mean_over_ranks = counted
        model = data_parallel(surrogate, ranks)
        for _ in range(3):
            train_step(model, [problems.batch(problem, 2)] * 4, state, options)
    print(f"{len(exchanges)} exchanges\n", end="", flush=True)
