"""The time of a training step of our FNO on a GPU for several precisions, without and with compilation.

FNO is the Fourier neural operator. Each row lists two lower bounds of the time, from rates measured on the
same GPU. The first bound is the time of the matrix products, with operations counted by PyTorch. The second
bound is the time to move the smallest number of bytes of a step. Without a GPU the benchmark measures
nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.fno_step import BATCH, CELLS, LAYERS, WIDTH, batch, build
from benchmarks.support.measuring import print_and_store

#: The type of the weights for each precision; mixed precision has weights in float32.
PRECISIONS = {"bfloat16": torch.float32, "float32": torch.float32, "float64": torch.float64}
#: The number of fields that a layer must read or write: four in the forward pass, eight in the backward pass.
FIELDS_PER_LAYER = 12
#: The number of reads and writes of weights, gradients and two moments of a step.
PASSES_OVER_WEIGHTS = 8


def main() -> None:
    """Print and store the times, or print that there is no GPU."""
    if not torch.cuda.is_available():
        print("fno_gpu: this machine has no GPU, and nothing is measured")
        return
    rows = [_row(precision, compiled) for precision in PRECISIONS for compiled in (False, True)]
    print_and_store("fno_gpu", f"FNO training step on {torch.cuda.get_device_name()}", rows, ["torch"])


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

    seconds = _mean_seconds(step, 100)
    model.zero_grad()
    with FlopCounterMode(display=False) as flop_counter:
        sum(model(windows).values()).backward()
    product_type = torch.bfloat16 if precision == "bfloat16" else dtype
    size = 8192 if precision != "float64" else 4096
    square = torch.randn(size, size, device="cuda").to(product_type)
    arithmetic_seconds = flop_counter.get_total_flops() / (
        2 * size**3 / _mean_seconds(lambda: square @ square, 10)
    )
    field_bytes = LAYERS * FIELDS_PER_LAYER * BATCH * CELLS**2 * WIDTH * product_type.itemsize
    weight_bytes = PASSES_OVER_WEIGHTS * sum(weight.nbytes for weight in model.parameters())
    large_array = torch.empty(2**28, device="cuda")
    memory_seconds = (field_bytes + weight_bytes) / (
        2 * large_array.nbytes / _mean_seconds(large_array.clone, 10)
    )
    return {
        "precision": precision,
        "compiled": "yes" if compiled else "no",
        "step, ms": 1e3 * seconds,
        "bound of the products, ms": 1e3 * arithmetic_seconds,
        "bound of the memory, ms": 1e3 * memory_seconds,
        "step / larger bound": seconds / max(arithmetic_seconds, memory_seconds),
    }


def _mean_seconds(run: Callable[[], object], num_runs: int) -> float:
    """Return the mean time of a run (s) after three warm-up runs."""
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(num_runs):
        run()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / num_runs


if __name__ == "__main__":
    main()
