"""Writes each surrogate's gradients of one full batch, shared by all ranks: `train_gradients.py FILE`."""

from __future__ import annotations

import sys
from pathlib import Path

import safetensors.torch
import torch

from pipeline.parallel.ranks import Ranks, init_ranks
from pipeline.training.step import data_parallel
from surrogates import store
from surrogates.contract import Problem, surrogate_names
from tests.support import problems

BATCH = 8
#: What keeps constraints, and the surrogates that are trained with them.
KEPT = {
    ("mean", "divergence"): problems.flow((16, 17)),
    ("boundary",): problems.parametric((16, 17), ("dirichlet", "periodic")),
}
CONSTRAINED = [
    *((name, ("mean", "divergence")) for name in ("fno", "unet", "deeponet", "pi_deeponet")),
    *((name, ("boundary",)) for name in ("fno", "unet", "deeponet")),
]


def gradients(
    name: str, kind: str, ranks: Ranks, problem: Problem, constraints: tuple[str, ...] = ()
) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    chosen = {"constraints": list(constraints)} if constraints else {}
    surrogate = store.build(name, problems.options(name) | chosen, problem, kind)
    with torch.no_grad():
        # Away from the start, where some gradients vanish because the weights behind them are 0.
        for weight in surrogate.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    dtype = next(surrogate.parameters()).dtype
    whole = problems.batch(problem, BATCH, dtype=dtype, num_random=surrogate.num_random)
    share = BATCH // ranks.size
    mine = {key: value[ranks.rank * share : (ranks.rank + 1) * share] for key, value in whole.items()}
    model = data_parallel(surrogate, ranks)
    losses = model(mine)  # type: ignore[arg-type]
    torch.autograd.backward(torch.stack(list(losses.values())).sum())
    which = "-".join([name, *constraints])
    found = {f"{which}/{kind}/{key}": weight.grad for key, weight in surrogate.named_parameters()}
    assert all(gradient is not None for gradient in found.values())
    return found  # type: ignore[return-value]


def main(file: Path) -> None:
    with init_ranks("cpu", file.parent) as ranks:
        found: dict[str, torch.Tensor] = {}
        for name in surrogate_names():
            for kind in ("float32", "float64"):
                found |= gradients(name, kind, ranks, problems.learnable_problem(name, autonomous=False))
        for name, constraints in CONSTRAINED:
            found |= gradients(name, "float64", ranks, KEPT[constraints], constraints)
        if ranks.is_first:
            safetensors.torch.save_file(found, file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
