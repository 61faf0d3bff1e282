"""Gradients of each surrogate on one full batch, divided among all ranks: `train_gradients.py FILE`.

Each rank prints the number of its communication threads during and after the process group.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import safetensors.torch
import torch

from pipeline.parallel.ranks import Ranks, init_ranks
from pipeline.training.step import data_parallel
from surrogates import store
from surrogates.contract import Problem, surrogate_names
from tests.support import problems
from tests.support.surrogate_cases import FramesInMemory

BATCH = 8
#: Problems with solutions that satisfy constraints.
PROBLEMS = {
    ("mean", "divergence"): problems.flow_problem((16, 17)),
    ("boundary",): problems.parametric_problem((16, 17), ("dirichlet", "periodic")),
}
#: Surrogates and their constraints.
CONSTRAINED_SURROGATES = [
    *((name, ("mean", "divergence")) for name in ("fno", "unet", "deeponet", "pi_deeponet")),
    *((name, ("boundary",)) for name in ("fno", "unet", "deeponet")),
]


def gradients(
    name: str, precision: str, ranks: Ranks, problem: Problem, constraints: tuple[str, ...] = ()
) -> dict[str, torch.Tensor]:
    """Return the gradients of a surrogate by NAME/PRECISION/WEIGHT."""
    torch.manual_seed(0)
    options = problems.options(name) | ({"constraints": list(constraints)} if constraints else {})
    surrogate = store.build(name, options, problem, precision)
    frames = problems.batch(problem, size=6, frames=4, dtype=torch.float64)["state"]
    surrogate.initialise(FramesInMemory(frames))
    with torch.no_grad():
        # At the initial weights some gradients vanish, because later weights are 0.
        for weight in surrogate.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    dtype = next(surrogate.parameters()).dtype
    full_batch = problems.batch(problem, BATCH, dtype=dtype, num_random=surrogate.num_random)
    share_size = BATCH // ranks.size
    rank_batch = {
        key: value[ranks.rank * share_size : (ranks.rank + 1) * share_size]
        for key, value in full_batch.items()
    }
    model = data_parallel(surrogate, ranks)
    losses = model(rank_batch)  # type: ignore[arg-type]
    torch.autograd.backward(torch.stack(list(losses.values())).sum())
    prefix = "-".join([name, *constraints])
    results = {f"{prefix}/{precision}/{key}": weight.grad for key, weight in surrogate.named_parameters()}
    assert all(gradient is not None for gradient in results.values())
    return results  # type: ignore[return-value]


def main(file: Path) -> None:
    """Write the gradients of all surrogates."""
    with init_ranks("cpu", file.parent) as ranks:
        results: dict[str, torch.Tensor] = {}
        for name in surrogate_names():
            for precision in ("float32", "float64"):
                problem = problems.learnable_problem(name, autonomous=False)
                results |= gradients(name, precision, ranks, problem)
        for name, constraints in CONSTRAINED_SURROGATES:
            results |= gradients(name, "float64", ranks, PROBLEMS[constraints], constraints)
        if ranks.is_first:
            safetensors.torch.save_file(results, file)
        num_threads = communication_threads()
    print(f"threads {num_threads} {communication_threads()}\n", end="", flush=True)


def communication_threads() -> int:
    """Return the number of gloo's threads in this process, or 0 on systems without /proc."""
    num_threads = 0
    for path in Path("/proc/self/task").glob("*/comm"):
        # A thread may end before its name is read.
        with suppress(OSError):
            num_threads += "gloo" in path.read_text()
    return num_threads


if __name__ == "__main__":
    main(Path(sys.argv[1]))
