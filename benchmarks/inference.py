"""The time of a prediction by each surrogate on one core, next to the time of its matrix products alone.

A query predicts 10 frames of 48^2 cells, of three bodies, or of two quantities, by a network with the options
of its YAML. The times are those of one frame of one case. The bound is the number of operations in products
and convolutions, counted by PyTorch, divided by the rate of a large product in the same arithmetic. Other
operations, such as activations, are not in the bound. A profile of our plain code shows which share of its
time the products and convolutions take, which share the activations take, and which share is left for copies,
sums and Python. With neuraloperator, its FNO of the same size is called 10 times.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode, addmm_flop, register_flop_formula

from benchmarks.support.measuring import medians, print_and_store
from surrogates import store
from surrogates.contract import Problem, Surrogate, surrogate_class, surrogate_names
from surrogates.inference import fast_matmul
from tests.support import problems
from tests.support.surrogate_cases import FramesInMemory

CELLS, STEPS, ROUNDS = 48, 10, 11
BATCHES = (1, 16)
#: The problems of the surrogates: each surrogate has the first problem that it can learn.
PROBLEMS = (
    problems.grid_problem((CELLS, CELLS), ("periodic", "periodic")),
    problems.parametric_problem((CELLS, CELLS), ("periodic", "periodic")),
    problems.circling_problem(),
    problems.quantity_problem(),
)
#: Further options, and the label of the row.
VARIANTS: tuple[tuple[str, dict[str, object], str], ...] = (
    *((name, {}, name) for name in surrogate_names()),
    *((name, {"predicts": "all_frames"}, f"{name}, all frames") for name in ("fno", "unet")),
)
Run = Callable[[], object]
PROFILED_RUNS = 10
#: The operations of PyTorch, by their kind.
OPERATIONS = {
    "products": {
        f"aten::{name}"
        for name in ("mm", "addmm", "addmm_", "bmm", "baddbmm", "dot", "mv", "mkldnn_convolution", "einsum")
    },
    "activations": {
        f"aten::{name}" for name in ("gelu", "gelu_", "tanh", "tanh_", "sigmoid", "silu", "softplus")
    },
}


def main() -> None:
    """Print and store the times."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    # The counter does not know products in place.
    register_flop_formula(torch.ops.aten.addmm_, get_raw=True)(addmm_flop)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        rows = [_row(*variant, batch) for variant in VARIANTS for batch in BATCHES]
    finally:
        os.sched_setaffinity(0, cores)
    claim = f"Predictions of {STEPS} frames, float32, one core: time of a frame and of its products"
    print_and_store("inference", claim, rows, ["torch"])


def _row(name: str, options: dict[str, object], label: str, batch: int) -> dict[str, object]:
    problem = _problem(name)
    surrogate = _build(name, options, problem)
    arguments = _arguments(problem, batch)
    runs: dict[str, Run] = {"ours": partial(surrogate.predict, **arguments)}
    if surrogate.kernel:
        runs["ours, compiled"] = partial(surrogate.compiled().predict, **arguments)
    if label == "fno" and importlib.util.find_spec("neuralop"):
        runs["neuraloperator"] = _peer_run(problem, surrogate, batch)
    seconds = {kind: value / STEPS / batch for kind, value in medians(runs, ROUNDS).items()}
    with FlopCounterMode(display=False) as counter:
        surrogate.predict(**arguments)
    operations = counter.get_total_flops() / STEPS / batch
    bound = operations / _product_rate()
    return {
        "surrogate": label,
        "batch": batch,
        "weights": sum(weight.numel() for weight in surrogate.parameters()),
        "operations, million": operations / 1e6,
        "bound, ms": 1e3 * bound,
        **{f"{kind}, ms": 1e3 * value for kind, value in seconds.items()},
        **{f"{kind} / bound": value / bound for kind, value in seconds.items()},
        **_profile(runs["ours"]),
    }


def _profile(run: Run) -> dict[str, float]:
    """Return the share (%) of each kind of operation in the time of a run."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(PROFILED_RUNS):
            run()
    events = profiler.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    shares = {
        f"{kind}, %": 100
        * sum(event.self_cpu_time_total for event in events if event.key in operations)
        / total
        for kind, operations in OPERATIONS.items()
    }
    return shares | {"others, %": 100 - sum(shares.values())}


def _problem(name: str) -> Problem:
    constructor = surrogate_class(name)
    problem = next(problem for problem in PROBLEMS if constructor.incompatibility(problem) is None)
    return problems.change_problem(problem, duration=STEPS * problem.time_step)


def _build(name: str, options: dict[str, object], problem: Problem) -> Surrogate:
    torch.manual_seed(0)
    defaults = problems.options(name, largest=10**6)
    if "horizon_steps" in defaults:
        defaults["horizon_steps"] = STEPS
    surrogate = store.build(name, defaults | options, problem, "float32")
    surrogate.initialise(FramesInMemory(problems.batch(problem, 8)["state"]))
    return surrogate.eval().requires_grad_(False)


def _arguments(problem: Problem, batch: int) -> dict[str, Any]:
    windows = problems.batch(problem, batch)
    return {
        "initial_state": windows["state"][:, 0],
        "parameters": problems.parameters_by_name(problem, windows),
        "times": np.arange(STEPS + 1) * problem.time_step,
    }


def _product_rate() -> float:
    """Return the operations per second of a large product, in the arithmetic of predictions."""
    square, seconds = torch.randn(1024, 1024), []
    with fast_matmul(square.device):
        for _ in range(8):
            start = time.perf_counter()
            square @ square
            seconds.append(time.perf_counter() - start)
    return 2 * 1024**3 / statistics.median(seconds)


def _peer_run(problem: Problem, surrogate: Any, batch: int) -> Run:
    """Return 10 calls of neuraloperator's FNO with the inputs, width, modes and layers of ours."""
    import neuralop

    modes = surrogate.network.fourier.num_modes
    count = round((modes / 2) ** 0.5)
    num_out = len(problem.spec.channels)
    network = neuralop.models.FNO(
        n_modes=(2 * count - 1, 2 * count - 2),
        in_channels=surrogate.inputs.num_fields,
        out_channels=num_out,
        hidden_channels=surrogate.network.layers[0].local.in_features,
        n_layers=len(surrogate.network.layers),
    ).eval()
    inputs = torch.randn(batch, surrogate.inputs.num_fields, CELLS, CELLS)

    def run() -> None:
        with torch.no_grad():
            for _ in range(STEPS):
                network(inputs)

    return run


if __name__ == "__main__":
    main()
