"""A training step of our FNO on a GPU: in bfloat16, float32 and float64, plain and compiled.

Each row lists two lower bounds of the time, from rates measured on the same GPU. The first is the time of the
matrix products alone; PyTorch counts the operations. The second is the time to move the fewest bytes that a
step needs. Without a
GPU nothing is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.fno_step import BATCH, CELLS, LAYERS, WIDTH, batch, build
from benchmarks.support.measuring import keep

#: Mixed precision keeps weights in float32.
PRECISIONS = {"bfloat16": torch.float32, "float32": torch.float32, "float64": torch.float64}
#: Fields that a layer must read or write: four in the forward pass, eight in the backward pass.
FIELDS_A_LAYER = 12
#: Reads and writes of an array of weights: weights, gradients and two moments.
PASSES_OVER_WEIGHTS = 8


def main() -> None:
    """Print and store the times, or print that there is no GPU."""
    if not torch.cuda.is_available():
        print("fno_gpu: there is no GPU here; nothing is measured")
        return
    rows = [_row(precision, compiled) for precision in PRECISIONS for compiled in (False, True)]
    keep("fno_gpu", f"FNO training step on {torch.cuda.get_device_name()}", rows, ["torch"])


def _row(precision: str, compiled: bool) -> dict[str, object]:
    dtype = PRECISIONS[precision]
    model = build(12, str(dtype).removeprefix("torch.")).cuda()
    windows = {name: tensor.cuda() for name, tensor in batch(dtype).items()}
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)
    forward = torch.compile(model, dynamic=False) if compiled else model

    def step() -> None:
        optimiser.zero_grad()
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = sum(forward(windows).values())
        loss.backward()
        optimiser.step()

    seconds = _seconds(step, 100)
    model.zero_grad()
    with FlopCounterMode(display=False) as counter:
        sum(model(windows).values()).backward()
    in_products = torch.bfloat16 if precision == "bfloat16" else dtype
    size = 8192 if precision != "float64" else 4096
    square = torch.randn(size, size, device="cuda").to(in_products)
    arithmetic = counter.get_total_flops() / (2 * size**3 / _seconds(lambda: square @ square, 10))
    fields = LAYERS * FIELDS_A_LAYER * BATCH * CELLS**2 * WIDTH * in_products.itemsize
    weights = PASSES_OVER_WEIGHTS * sum(weight.nbytes for weight in model.parameters())
    long = torch.empty(2**28, device="cuda")
    memory = (fields + weights) / (2 * long.nbytes / _seconds(long.clone, 10))
    return {
        "precision": precision,
        "compiled": "yes" if compiled else "no",
        "step, ms": 1e3 * seconds,
        "bound of the products, ms": 1e3 * arithmetic,
        "bound of the memory, ms": 1e3 * memory,
        "step / larger bound": seconds / max(arithmetic, memory),
    }


def _seconds(run: Callable[[], object], times: int) -> float:
    """Return the mean time of a run, after three runs that warm up."""
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(times):
        run()
    torch.cuda.synchronize()
    return (time.perf_counter() - begin) / times


if __name__ == "__main__":
    main()
