"""A training step on the residual of 2-D heat, 4096 points, 4 layers of 64, float32: DeepXDE's and ours.

    u_t = 0.1 (u_xx + u_yy),    u = sin(pi x) sin(pi y) + t/(t + 2) (1 - x^2) (1 - y^2) N(x, y, t - 1)

Both have the same form, which meets start and walls, the same weights of N and the same points, and first
must agree on what is left of the equation and on the gradient of its mean square. A step is this loss, its
gradient and Adam, each in a process of its own. DeepXDE's network has the form as its output transform, and
is differentiated by reverse mode, twice. Ours is the surrogate `pinn` itself: `PINN.residuals`, which is told
the equation as by a solver and finds that u_t - 0.1 (u_xx + u_yy) can be carried through the network as one
(surrogates/physics/forward_laplacian.py), with the train stage's products and memory, as written and by
torch.compile. A last row has DeepXDE's with this memory, and these products too.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.measuring import keep, medians_apart
from pipeline.training.device.malloc import keep_freed_memory
from pipeline.training.device.precision import fast_matmul
from surrogates import store
from surrogates.contract import Problem, Statistics
from surrogates.pinn import PINN

POINTS, WIDTH, LAYERS, ROUNDS = 4096, 64, 4, 30
DIFFUSIVITY, DURATION = 0.1, 2.0
Run = Callable[[], object]
Residual = Callable[[], torch.Tensor]


def main() -> None:
    """Prints and keeps the times."""
    residual_apart, gradient_apart = _apart()
    seconds = medians_apart(
        {
            "DeepXDE": partial(_their_run, as_ours=False),
            "ours": partial(_our_run, compiled=False),
            "ours, compiled": partial(_our_run, compiled=True),
            "DeepXDE, memory kept, our products": partial(_their_run, as_ours=True),
        },
        ROUNDS,
    )
    rows: list[dict[str, Any]] = [
        {"what": what, "milliseconds": 1e3 * found, "DeepXDE / this": seconds["DeepXDE"] / found}
        for what, found in seconds.items()
    ]
    rows[-1] |= {"residuals apart": residual_apart, "gradients apart": gradient_apart}
    claim = f"Step on the residual of 2-D heat, {POINTS} points, {LAYERS} x {WIDTH}, float32, one core"
    keep("pinn_residual_step", claim, rows, ["torch", "DeepXDE"])


def _apart() -> tuple[float, float]:
    """How far residuals and gradients are apart, relative to the largest and to the norm."""
    found = []
    for network, residual in (_theirs(), _ours()):
        left = residual()
        gradient = torch.autograd.grad(left.square().mean(), _weights(network))
        found.append((left.detach(), torch.cat([each.flatten() for each in gradient])))
    (left, gradient), (our_left, our_gradient) = found
    apart = float((our_left - left).abs().max() / left.abs().max())
    gradient_apart = float((our_gradient - gradient).norm() / gradient.norm())
    if max(apart, gradient_apart) > 1e-5:
        raise SystemExit(f"residuals are {apart:.2e} apart, gradients {gradient_apart:.2e}: not compared")
    return apart, gradient_apart


def _their_run(as_ours: bool) -> Run:
    if as_ours:
        keep_freed_memory()
    return _step(*_theirs(), way=_way() if as_ours else "highest")


def _our_run(compiled: bool) -> Run:
    keep_freed_memory()
    network, residual = _ours()
    return _step(network, torch.compile(residual, dynamic=False) if compiled else residual, way=_way())


def _way() -> str:
    """How the train stage multiplies on this machine."""
    with fast_matmul(torch.device("cpu")) as way:
        return way


def _step(network: torch.nn.Module, residual: Residual, way: str) -> Run:
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision(way)
    # A rate of 0: all stay at the weights on which they agreed.
    optimiser = torch.optim.Adam(network.parameters(), lr=0.0, fused=True)

    def step() -> None:
        optimiser.zero_grad()
        residual().square().mean().backward()
        optimiser.step()

    return step


def _points() -> torch.Tensor:
    """Points (x, y, t), (M, 3)."""
    unit = torch.rand(POINTS, 3, generator=torch.Generator().manual_seed(1))
    return unit * 2 - torch.tensor([1.0, 1.0, 0.0])


def _theirs() -> tuple[torch.nn.Module, Residual]:
    os.environ["DDE_BACKEND"] = "pytorch"
    import deepxde as dde

    torch.manual_seed(0)
    network = dde.nn.FNN([3] + [WIDTH] * LAYERS + [1], "tanh", "Glorot normal")
    shift = torch.tensor([0.0, 0.0, 1.0])
    network.apply_feature_transform(lambda inputs: inputs - shift)

    def formed(inputs: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        x, y, t = inputs[:, :1], inputs[:, 1:2], inputs[:, 2:]
        start = torch.sin(math.pi * x) * torch.sin(math.pi * y)
        return start + t / (t + DURATION) * (1 - x * x) * (1 - y * y) * outputs

    network.apply_output_transform(formed)
    points = _points()

    def residual() -> torch.Tensor:
        inputs = points.clone().requires_grad_()
        u = network(inputs)
        u_t = dde.grad.jacobian(u, inputs, i=0, j=2)
        bends = [dde.grad.hessian(u, inputs, i=axis, j=axis) for axis in (0, 1)]
        dde.grad.clear()
        return u_t - DIFFUSIVITY * sum(bends)

    return network, residual


def _ours() -> tuple[torch.nn.Module, Residual]:
    options = {
        "width": WIDTH, "layers": LAYERS, "waves": 1, "points": POINTS, "candidates": 1, "causality": 0.0,
        "data_weight": 0.0, "constraints": [],
    }  # fmt: skip
    surrogate = store.build("pinn", options, _problem(), "float32")
    assert isinstance(surrogate, PINN)
    for weight, other in zip(_weights(surrogate), _weights(_theirs()[0]), strict=True):
        weight.data.copy_(other.data)
    points = surrogate._at(_points())
    # In K/s, as theirs, not in units of the usual size of a residual.
    scale = surrogate.residual.equation.scales.float()
    return surrogate, lambda: surrogate.residuals(points) * scale


def _weights(network: torch.nn.Module) -> list[torch.nn.Parameter]:
    return list(network.parameters())


def _problem() -> Problem:
    def residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        u = fields["temperature"]
        left = derivative(u, "t")
        for axis in "xy":
            left = left - DIFFUSIVITY * derivative(derivative(u, axis), axis)
        return {"heat": left}

    def initial_condition(coordinates: Any, parameters: Any, functions: Any) -> dict[str, Any]:
        x, y = (functions.sin(math.pi * coordinates[axis]) for axis in "xy")
        return {"temperature": x * y}

    zero, one = (0.0,), (1.0,)
    return Problem(
        equation="heat",
        channels=("temperature",),
        units=("K",),
        coefficients=(),
        parameters=(),
        parameter_ranges=(),
        axes=("x", "y"),
        sites=(32, 32),
        lower=(-1.0, -1.0),
        extent=(2.0, 2.0),
        boundaries=("dirichlet", "dirichlet"),
        boundary_values=((0.0, 0.0), (0.0, 0.0)),
        time_step=0.1,
        duration=DURATION,
        autonomous=True,
        determined=True,
        conserved=(),
        divergence_free=(),
        statistics=Statistics(zero, one, (0.01,), (), (), (), ()),
        residual=residual,
        initial_condition=initial_condition,
    )


if __name__ == "__main__":
    main()
