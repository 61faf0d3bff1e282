"""A training step of the FNO against neuraloperator's: 64^2, 32 channels, 4 layers, 8 windows, one core.

First the layers are matched: our network with neuraloperator's spectral convolution in place of ours, the
same weights copied over, must give the same loss and gradient. Then what is timed is forward, backward and
AdamW, each network in a process of its own, as its authors have it: neuraloperator's FNO with its own
defaults, loss and optimiser, ours as the train stage has it, without and with training.compile. A last column
has neuraloperator's with the memory kept that a step frees, which its authors leave to the C library.
"""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import neuralop
import torch
from neuralop.layers.spectral_convolution import SpectralConv
from neuralop.losses import LpLoss
from neuralop.training import AdamW as TheirAdamW
from torch import nn

from benchmarks.measuring import keep, medians_apart
from pipeline.training.device.malloc import keep_freed_memory
from pipeline.training.device.precision import fast_matmul
from surrogates import store
from surrogates.contract import Batch, Problem, Statistics
from surrogates.networks.spectral_convolution import TruncatedFourier

CELLS, WIDTH, LAYERS, BATCH = 64, 32, 4, 8
#: Ours counts |k| < modes; theirs all modes of both signs of an axis, and twice those of the halved axis.
MODES: list[tuple[str, int | list[int], tuple[int, int]]] = [
    ("|k| < 12", 12, (23, 22)),
    ("12 of both signs", [7, 6], (12, 12)),
]
ROUNDS = 15
Run = Callable[[], object]


def main() -> None:
    """Prints and keeps milliseconds a training step of both."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        rows = [_compare(*modes) for modes in MODES]
    finally:
        os.sched_setaffinity(0, cores)
    keep(
        "fno_step",
        "FNO training step: 64^2, 32 channels, 4 layers, batch of 8, float32, one core",
        rows,
        ["torch", "neuraloperator"],
    )


def _compare(label: str, modes: int | list[int], theirs: tuple[int, int]) -> dict[str, object]:
    torch.manual_seed(0)
    ours = build(modes)
    seconds = medians_apart(
        {
            "neuraloperator": partial(_their_run, theirs, keeps=False),
            "ours": partial(_our_run, modes, compiled=False),
            "ours, compiled": partial(_our_run, modes, compiled=True),
            "neuraloperator, memory kept": partial(_their_run, theirs, keeps=True),
        },
        ROUNDS,
    )
    return {
        "modes": label,
        "weights, theirs": _count(_their_network(theirs)),
        "weights, ours": _count(ours),
        **{f"{name}, ms": 1e3 * value for name, value in seconds.items()},
        "neuraloperator / ours": seconds["neuraloperator"] / seconds["ours"],
        "neuraloperator / ours, compiled": seconds["neuraloperator"] / seconds["ours, compiled"],
        "neuraloperator, memory kept / ours": seconds["neuraloperator, memory kept"] / seconds["ours"],
        **_matched(ours, *theirs),
    }


def _our_run(modes: int | list[int], compiled: bool) -> Run:
    torch.set_num_threads(1)
    keep_freed_memory()
    model = build(modes)
    return our_step(torch.compile(model, dynamic=False) if compiled else model)


def _their_run(modes: tuple[int, int], keeps: bool) -> Run:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    if keeps:
        keep_freed_memory()
    return their_step(_their_network(modes))


def _their_network(modes: tuple[int, int]) -> nn.Module:
    network: nn.Module = neuralop.models.FNO(
        n_modes=modes, in_channels=1, out_channels=1, hidden_channels=WIDTH, n_layers=LAYERS
    )
    return network


def build(modes: int | list[int], precision: str = "float32") -> nn.Module:
    """Our FNO for one field and one parameter in a periodic square."""
    one, zero = (1.0,), (0.0,)
    problem = Problem(
        equation="benchmark",
        channels=("vorticity",),
        units=("1/s",),
        coefficients=(),
        parameters=("viscosity",),
        parameter_ranges=((-1.0, 1.0),),
        axes=("x", "y"),
        sites=(CELLS, CELLS),
        lower=(0.0, 0.0),
        extent=(1.0, 1.0),
        boundaries=("periodic", "periodic"),
        boundary_values=((0.0, 0.0), (0.0, 0.0)),
        time_step=1.0,
        duration=1.0,
        autonomous=True,
        determined=False,
        conserved=(),
        divergence_free=(),
        statistics=Statistics(zero, one, one, (), (), zero, one),
    )
    return store.build("fno", {"width": WIDTH, "modes": modes, "layers": LAYERS}, problem, precision)


def batch(precision: torch.dtype = torch.float32) -> Batch:
    """Windows of two frames."""
    generator = torch.Generator().manual_seed(1)
    return {
        "state": torch.randn(BATCH, 2, 1, CELLS, CELLS, generator=generator).to(precision),
        "coefficient_fields": torch.empty(BATCH, 0, CELLS, CELLS, dtype=precision),
        "parameters": torch.randn(BATCH, 1, generator=generator).to(precision),
        "time": torch.tensor([[0.0, 1.0]], dtype=precision).repeat(BATCH, 1),
    }


def our_step(model: nn.Module) -> Run:
    """A training step of ours, with the products of the train stage."""
    windows = batch()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)

    with fast_matmul(torch.device("cpu")) as way:
        pass

    def run() -> None:
        torch.set_float32_matmul_precision(way)
        optimiser.zero_grad()
        sum(model(windows).values()).backward()
        optimiser.step()
        torch.set_float32_matmul_precision("highest")

    return run


def their_step(model: nn.Module) -> Run:
    """A training step with neuraloperator's own loss and optimiser."""
    windows = batch()
    inputs, truth = (windows["state"][:, frame].contiguous() for frame in (0, 1))
    loss = LpLoss(d=2, p=2)
    optimiser = TheirAdamW(model.parameters(), lr=3e-4, weight_decay=1e-4)

    def run() -> None:
        optimiser.zero_grad()
        loss(model(inputs), truth).backward()
        optimiser.step()

    return run


class _TheirConvolution(nn.Module):
    """neuraloperator's spectral convolution, with our weights, where our network has its own."""

    def __init__(self, weight_MCKC: torch.Tensor, both: int, halved: int):
        super().__init__()
        self.convolution = SpectralConv(WIDTH, WIDTH, (both, halved), bias=False)
        weight = torch.complex(weight_MCKC[:, :, 0], weight_MCKC[:, :, 1]).detach()
        self.convolution.weight.tensor.data.copy_(weight.unflatten(0, (-1, both)).permute(2, 3, 1, 0))

    def forward(self, field: torch.Tensor, fourier: TruncatedFourier, onto: torch.Tensor) -> torch.Tensor:
        """As SpectralConvolution; theirs halves the last axis, ours the first."""
        found = self.convolution(field.permute(2, 3, 1, 0))
        return onto + found.permute(3, 2, 0, 1)


def _matched(ours: nn.Module, both: int, halved: int) -> dict[str, object]:
    """How far loss and gradient are apart, relative, with their spectral convolutions in our network."""
    if not both % 2:
        return {}  # theirs keeps the lowest mode of one sign alone: no weights of ours are its own
    other: Any = copy.deepcopy(ours)
    for layer in other.network.layers:
        layer.spectral = _TheirConvolution(layer.spectral.weight, both, halved)
    found = []
    for model in (ours, other):
        model.zero_grad()
        loss = sum(model(batch()).values())
        loss.backward()
        # The lifting's weights are behind all layers.
        gradient = torch.cat([weight.grad.flatten() for weight in model.network.lifting.parameters()])
        found.append((loss.detach(), gradient))
        model.zero_grad()
    loss_apart, gradient_apart = (float((a - b).norm() / b.norm()) for a, b in zip(*found, strict=True))
    if max(loss_apart, gradient_apart) > 1e-5:
        raise SystemExit(f"with equal layers losses are {loss_apart}, gradients {gradient_apart} apart")
    return {"equal layers: losses apart": loss_apart, "gradients apart": gradient_apart}


def _count(model: nn.Module) -> int:
    """Real numbers among the weights; a complex one is two."""
    return sum(weight.numel() * (2 if weight.is_complex() else 1) for weight in model.parameters())


if __name__ == "__main__":
    main()
