"""A training step on the residual of 2-D heat, 4096 points, 4 layers of 64, float32: DeepXDE's and ours.

    u_t = 0.1 (u_xx + u_yy)

Both have the same weights and points, and first must agree on what is left of the equation. A step is a loss,
its gradient and Adam. DeepXDE differentiates by reverse mode, twice; ours carries the derivatives through the
network (surrogates/jets.py), as it is written and by torch.compile.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.measuring import keep, medians
from surrogates.jets import Orders, coordinate, derivative, stack
from surrogates.perceptron import Perceptron

POINTS, WIDTH, LAYERS, ROUNDS = 4096, 64, 4, 30
DIFFUSIVITY = 0.1
ORDERS = Orders(("x", "y", "t"), ("x", "y"))


def main() -> None:
    """Prints and keeps the times."""
    os.environ["DDE_BACKEND"] = "pytorch"
    import deepxde as dde

    torch.set_num_threads(1)
    torch.manual_seed(0)
    theirs = dde.nn.FNN([3] + [WIDTH] * LAYERS + [1], "tanh", "Glorot normal")
    ours = Perceptron(3, 1, width=WIDTH, layers=LAYERS)
    for to, of in zip(ours.parameters(), theirs.parameters(), strict=True):
        to.data.copy_(of.data)
    points = torch.rand(POINTS, 3)

    def by_reverse_mode() -> torch.Tensor:
        inputs = points.clone().requires_grad_()
        u = theirs(inputs)
        u_t = dde.grad.jacobian(u, inputs, i=0, j=2)
        bends = [dde.grad.hessian(u, inputs, i=axis, j=axis) for axis in (0, 1)]
        dde.grad.clear()
        return (u_t - DIFFUSIVITY * sum(bends))[:, 0]

    def by_jets() -> torch.Tensor:
        at = [coordinate(values, axis) for values, axis in zip(points.unbind(1), "xyt", strict=True)]
        u = ours.jet(stack(at), ORDERS)[:, 0]
        left = derivative(u, "t")
        for axis in "xy":
            left = left - DIFFUSIVITY * derivative(derivative(u, axis), axis)
        return left.value

    difference = float((by_jets() - by_reverse_mode()).abs().max() / by_reverse_mode().abs().max())
    if difference > 1e-5:
        raise SystemExit(f"the residuals differ by {difference:.2e}: nothing is compared")
    runs: dict[str, Callable[[], object]] = {
        "DeepXDE": _step(by_reverse_mode, theirs),
        "ours": _step(by_jets, ours),
        "ours, compiled": _step(torch.compile(by_jets), ours),
    }
    seconds = medians(runs, ROUNDS)
    rows: list[dict[str, Any]] = [
        {"what": what, "milliseconds": 1e3 * found, "DeepXDE / this": seconds["DeepXDE"] / found}
        for what, found in seconds.items()
    ]
    rows[-1]["largest difference"] = difference
    claim = f"Step on the residual of 2-D heat, {POINTS} points, {LAYERS} x {WIDTH}, float32, one core"
    keep("pinn_residual_step", claim, rows, ["torch", "DeepXDE"])


def _step(residual: Callable[[], torch.Tensor], network: torch.nn.Module) -> Callable[[], object]:
    # A rate of 0: both stay at the weights on which they agreed.
    optimiser = torch.optim.Adam(network.parameters(), lr=0.0, fused=True)

    def step() -> None:
        optimiser.zero_grad()
        residual().square().mean().backward()
        optimiser.step()

    return step


if __name__ == "__main__":
    main()
