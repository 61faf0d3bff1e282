"""The time of a training step of DeepXDE and `pinn` on the residual of the 2-D heat equation.

    u_t = 0.1 (u_xx + u_yy),    u = sin(pi x) sin(pi y) + t/(t + 2) (1 - x^2) (1 - y^2) N(x, y, t - 1)

The physics-informed network `pinn` and DeepXDE have this ansatz, equal weights of N in float32 (4 layers of
width 64), and the same 4096 points. The ansatz satisfies the initial and boundary conditions. Before the
timing, the benchmark compares the residuals of both codes and the gradients of the mean squares. A step
consists of the loss, its gradient and Adam, in a separate process for each row. The ansatz is the output
transform of the network of DeepXDE, and reverse-mode differentiation is applied twice. The time of `pinn` is
the time of `PINN.residuals`, which propagates u_t - 0.1 (u_xx + u_yy) through the network as one derivative
(surrogates/physics/forward_laplacian.py). `pinn` has the matmul precision and the memory settings of the
train stage, without and with torch.compile. In the last row DeepXDE has the same settings.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.support.measuring import medians_in_processes, print_and_store
from pipeline.training.device.malloc import keep_freed_memory
from simsurrogate.spec import Axis, Field, Grid, Spec
from surrogates import store
from surrogates.contract import Problem, Statistics
from surrogates.inference import fast_matmul
from surrogates.pinn import PINN

POINTS, WIDTH, LAYERS, ROUNDS = 4096, 64, 4, 30
DIFFUSIVITY, DURATION = 0.1, 2.0
Run = Callable[[], object]
Residual = Callable[[], torch.Tensor]


def main() -> None:
    """Print and store the time of a step of each code."""
    residual_difference, gradient_difference = _differences()
    seconds = medians_in_processes(
        {
            "DeepXDE": partial(_deepxde_step, has_our_settings=False),
            "pinn": partial(_pinn_step, compiled=False),
            "pinn, compiled": partial(_pinn_step, compiled=True),
            "DeepXDE, memory kept, same matmul precision": partial(_deepxde_step, has_our_settings=True),
        },
        ROUNDS,
    )
    rows: list[dict[str, Any]] = [
        {"code": code, "milliseconds": 1e3 * median, "speed relative to DeepXDE": seconds["DeepXDE"] / median}
        for code, median in seconds.items()
    ]
    rows[-1] |= {
        "difference of residuals": residual_difference,
        "difference of gradients": gradient_difference,
    }
    claim = f"Step on the residual of 2-D heat, {POINTS} points, {LAYERS} x {WIDTH}, float32, one core"
    print_and_store("pinn_residual_step", claim, rows, ["torch", "DeepXDE"])


def _differences() -> tuple[float, float]:
    """Return the relative differences of the residuals (maximum norm) and of the gradients (L2 norm)."""
    results = []
    for network, residual in (_deepxde(), _pinn()):
        residuals = residual()
        gradient = torch.autograd.grad(residuals.square().mean(), _weights(network))
        results.append(
            (residuals.detach(), torch.cat([weight_gradient.flatten() for weight_gradient in gradient]))
        )
    (peer_residuals, peer_gradient), (residuals, gradient) = results
    difference = float((residuals - peer_residuals).abs().max() / peer_residuals.abs().max())
    gradient_difference = float((gradient - peer_gradient).norm() / peer_gradient.norm())
    if max(difference, gradient_difference) > 1e-5:
        raise SystemExit(
            f"the residuals differ by {difference:.2e} and the gradients by {gradient_difference:.2e}; "
            "at most 1e-5 is allowed"
        )
    return difference, gradient_difference


def _deepxde_step(has_our_settings: bool) -> Run:
    if has_our_settings:
        keep_freed_memory()
    return _build_step(*_deepxde(), matmul_precision=_matmul_precision() if has_our_settings else "highest")


def _pinn_step(compiled: bool) -> Run:
    keep_freed_memory()
    network, residual = _pinn()
    if compiled:
        residual = torch.compile(residual, dynamic=False)
    return _build_step(network, residual, matmul_precision=_matmul_precision())


def _matmul_precision() -> str:
    """Return the matmul precision of the train stage on this machine."""
    with fast_matmul(torch.device("cpu")) as precision:
        return precision


def _build_step(network: torch.nn.Module, residual: Residual, matmul_precision: str) -> Run:
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision(matmul_precision)
    # The learning rate of 0 keeps the weights equal in all rows.
    optimiser = torch.optim.Adam(network.parameters(), lr=0.0, fused=True)

    def step() -> None:
        optimiser.zero_grad()
        residual().square().mean().backward()
        optimiser.step()

    return step


def _points() -> torch.Tensor:
    """Return the points (x, y, t), (M, 3)."""
    unit = torch.rand(POINTS, 3, generator=torch.Generator().manual_seed(1))
    return unit * 2 - torch.tensor([1.0, 1.0, 0.0])


def _deepxde() -> tuple[torch.nn.Module, Residual]:
    os.environ["DDE_BACKEND"] = "pytorch"
    import deepxde as dde

    torch.manual_seed(0)
    network = dde.nn.FNN([3] + [WIDTH] * LAYERS + [1], "tanh", "Glorot normal")
    shift = torch.tensor([0.0, 0.0, 1.0])
    network.apply_feature_transform(lambda inputs: inputs - shift)

    def ansatz(inputs: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        x, y, t = inputs[:, :1], inputs[:, 1:2], inputs[:, 2:]
        start = torch.sin(math.pi * x) * torch.sin(math.pi * y)
        return start + t / (t + DURATION) * (1 - x * x) * (1 - y * y) * outputs

    network.apply_output_transform(ansatz)
    points = _points()

    def residual() -> torch.Tensor:
        inputs = points.clone().requires_grad_()
        u = network(inputs)
        u_t = dde.grad.jacobian(u, inputs, i=0, j=2)
        second_derivatives = [dde.grad.hessian(u, inputs, i=axis, j=axis) for axis in (0, 1)]
        dde.grad.clear()
        return u_t - DIFFUSIVITY * sum(second_derivatives)

    return network, residual


def _pinn() -> tuple[torch.nn.Module, Residual]:
    options = {
        "width": WIDTH, "layers": LAYERS, "waves": 1, "points": POINTS, "candidates": 1, "causality": 0.0,
        "data_weight": 0.0, "constraints": [],
    }  # fmt: skip
    surrogate = store.build("pinn", options, _problem(), "float32")
    assert isinstance(surrogate, PINN)
    for weight, peer_weight in zip(_weights(surrogate), _weights(_deepxde()[0]), strict=True):
        weight.data.copy_(peer_weight.data)
    points = surrogate.residual.prepare(_points())
    # The factor converts the normalised residual to K/s, the unit of the residual of DeepXDE.
    scale = surrogate.residual.equation.scales.float()
    return surrogate, lambda: surrogate.residuals(points) * scale


def _weights(network: torch.nn.Module) -> list[torch.nn.Parameter]:
    return list(network.parameters())


def _problem() -> Problem:
    def residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        u = fields["temperature"]
        heat = derivative(u, "t")
        for axis in "xy":
            heat = heat - DIFFUSIVITY * derivative(derivative(u, axis), axis)
        return {"heat": heat}

    def initial_condition(coordinates: Any, parameters: Any, xp: Any) -> dict[str, Any]:
        x, y = (xp.sin(math.pi * coordinates[axis]) for axis in "xy")
        return {"temperature": x * y}

    spec = Spec(
        name="heat",
        equation="u_t = 0.1 (u_xx + u_yy)",
        sites=Grid(tuple(Axis(name, "m", 32, -1.0, 1.0, "dirichlet") for name in "xy")),
        fields=(Field("temperature", "K", "temperature"),),
        coefficient_fields=(),
        parameters=(),
        invariants=(),
        autonomous=True,
        parametric=True,
    )
    statistics = Statistics((0.0,), (1.0,), (0.01,), (), (), (), ())
    return Problem(spec, statistics, 0.1, DURATION, residual, initial_condition)


if __name__ == "__main__":
    main()
