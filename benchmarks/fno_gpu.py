"""A training step of our FNO on a GPU: bfloat16, float32 and float64, as it is and compiled.

Beside each time stand two bounds below it, from rates that are measured first on the same GPU: that of the
products alone, whose operations PyTorch counts, and that of the bytes that a step must move at the least.
Without a GPU it says so and keeps nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.fno_step import BATCH, CELLS, LAYERS, WIDTH, batch, build
from benchmarks.measuring import keep

#: Mixed precision keeps weights in float32.
PRECISIONS = {"bfloat16": torch.float32, "float32": torch.float32, "float64": torch.float64}
#: Fields that a layer must read or write: two in and two out forward, and twice as many backward.
FIELDS_A_LAYER = 12
#: Weights, gradients and two moments: gradient and optimiser read and write each once, less one.
PASSES_OVER_WEIGHTS = 8


def main() -> None:
    """Prints and keeps the times, or says that there is no GPU."""
    if not torch.cuda.is_available():
        print("fno_gpu: there is no GPU here; nothing is measured")
        return
    rows = [_row(precision, compiled) for precision in PRECISIONS for compiled in (False, True)]
    keep("fno_gpu", f"FNO training step on {torch.cuda.get_device_name()}", rows, ["torch"])


def _row(precision: str, compiled: bool) -> dict[str, object]:
    kind = PRECISIONS[precision]
    model = build(12, str(kind).removeprefix("torch.")).cuda()
    windows = {name: tensor.cuda() for name, tensor in batch(kind).items()}
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)
    called = torch.compile(model, dynamic=False) if compiled else model

    def step() -> None:
        optimiser.zero_grad()
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = sum(called(windows).values())
        loss.backward()
        optimiser.step()

    seconds = _seconds(step, 100)
    model.zero_grad()
    with FlopCounterMode(display=False) as counter:
        sum(model(windows).values()).backward()
    in_products = torch.bfloat16 if precision == "bfloat16" else kind
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
    """Mean time of a run that has warmed up."""
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(times):
        run()
    torch.cuda.synchronize()
    return (time.perf_counter() - begun) / times


if __name__ == "__main__":
    main()
