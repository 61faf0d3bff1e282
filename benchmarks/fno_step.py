"""The time of a training step of our FNO and the FNO of neuraloperator on one core.

FNO is the Fourier neural operator, here with 64^2 cells, 32 channels, 4 layers and 8 windows. First, the
layers are compared: our network with the spectral convolution of neuraloperator and equal weights must have
equal loss and gradient. Then a separate process for each network measures the forward pass, the backward pass
and AdamW. The FNO of neuraloperator has its default options, loss and optimiser. Our FNO has the settings of
the train stage, without and with training.compile. In the last column the process of neuraloperator also
keeps freed memory, like the train stage.
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

from benchmarks.support.measuring import medians_in_processes, print_and_store
from pipeline.training.device.malloc import keep_freed_memory
from simsurrogate.spec import Axis, Field, Grid, Parameter, Spec
from surrogates import store
from surrogates.contract import Batch, Problem, Statistics
from surrogates.inference import fast_matmul
from surrogates.networks.spectral_convolution import TruncatedFourier

CELLS, WIDTH, LAYERS, BATCH = 64, 32, 4, 8
#: The modes of our FNO and of neuraloperator. Our FNO counts |k| < modes. neuraloperator counts the modes of
#: both signs, also along the halved axis.
MODES: list[tuple[str, int | list[int], tuple[int, int]]] = [
    ("|k| < 12", 12, (23, 22)),
    ("12 of both signs", [7, 6], (12, 12)),
]
ROUNDS = 15
Run = Callable[[], object]


def main() -> None:
    """Print and store the time of a training step (ms) of both networks."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        rows = [_compare(*modes) for modes in MODES]
    finally:
        os.sched_setaffinity(0, cores)
    print_and_store(
        "fno_step",
        "FNO training step: 64^2, 32 channels, 4 layers, batch of 8, float32, one core",
        rows,
        ["torch", "neuraloperator"],
    )


def _compare(label: str, modes: int | list[int], peer_modes: tuple[int, int]) -> dict[str, object]:
    torch.manual_seed(0)
    network = build(modes)
    seconds = medians_in_processes(
        {
            "neuraloperator": partial(_peer_run, peer_modes, keeps_memory=False),
            "ours": partial(_our_run, modes, compiled=False),
            "ours, compiled": partial(_our_run, modes, compiled=True),
            "neuraloperator, memory kept": partial(_peer_run, peer_modes, keeps_memory=True),
        },
        ROUNDS,
    )
    return {
        "modes": label,
        "weights, neuraloperator": _count_weights(_peer_network(peer_modes)),
        "weights, ours": _count_weights(network),
        **{f"{name}, ms": 1e3 * value for name, value in seconds.items()},
        "neuraloperator / ours": seconds["neuraloperator"] / seconds["ours"],
        "neuraloperator / ours, compiled": seconds["neuraloperator"] / seconds["ours, compiled"],
        "neuraloperator, memory kept / ours": seconds["neuraloperator, memory kept"] / seconds["ours"],
        **_layer_differences(network, *peer_modes),
    }


def _our_run(modes: int | list[int], compiled: bool) -> Run:
    torch.set_num_threads(1)
    keep_freed_memory()
    model = build(modes)
    return build_our_step(torch.compile(model, dynamic=False) if compiled else model)


def _peer_run(modes: tuple[int, int], keeps_memory: bool) -> Run:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    if keeps_memory:
        keep_freed_memory()
    return build_peer_step(_peer_network(modes))


def _peer_network(modes: tuple[int, int]) -> nn.Module:
    network: nn.Module = neuralop.models.FNO(
        n_modes=modes, in_channels=1, out_channels=1, hidden_channels=WIDTH, n_layers=LAYERS
    )
    return network


def build(modes: int | list[int], precision: str = "float32") -> nn.Module:
    """Return our FNO for one field and one parameter on a periodic square."""
    unit, zero = (1.0,), (0.0,)
    axes = tuple(Axis(name, "1", CELLS, 0.0, 1.0, "periodic") for name in "xy")
    spec = Spec(
        name="benchmark",
        equation="",
        sites=Grid(axes),
        fields=(Field("vorticity", "1/s", ""),),
        coefficient_fields=(),
        parameters=(Parameter("viscosity", "1", "", -1.0, 1.0),),
        invariants=(),
        autonomous=True,
        parametric=False,
    )
    problem = Problem(spec, Statistics(zero, unit, unit, (), (), zero, unit), time_step=1.0, duration=1.0)
    return store.build("fno", {"width": WIDTH, "modes": modes, "layers": LAYERS}, problem, precision)


def batch(precision: torch.dtype = torch.float32) -> Batch:
    """Return random windows of two frames."""
    generator = torch.Generator().manual_seed(1)
    return {
        "state": torch.randn(BATCH, 2, 1, CELLS, CELLS, generator=generator).to(precision),
        "coefficient_fields": torch.empty(BATCH, 0, CELLS, CELLS, dtype=precision),
        "parameters": torch.randn(BATCH, 1, generator=generator).to(precision),
        "time": torch.tensor([[0.0, 1.0]], dtype=precision).repeat(BATCH, 1),
    }


def build_our_step(model: nn.Module) -> Run:
    """Return a training step of our FNO, with the matmul precision of the train stage."""
    windows = batch()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)

    with fast_matmul(torch.device("cpu")) as matmul_precision:
        pass

    def run() -> None:
        torch.set_float32_matmul_precision(matmul_precision)
        optimiser.zero_grad()
        sum(model(windows).values()).backward()
        optimiser.step()
        torch.set_float32_matmul_precision("highest")

    return run


def build_peer_step(model: nn.Module) -> Run:
    """Return a training step with the loss and the optimiser of neuraloperator."""
    windows = batch()
    inputs, truth = (windows["state"][:, frame].contiguous() for frame in (0, 1))
    loss = LpLoss(d=2, p=2)
    optimiser = TheirAdamW(model.parameters(), lr=3e-4, weight_decay=1e-4)

    def run() -> None:
        optimiser.zero_grad()
        loss(model(inputs), truth).backward()
        optimiser.step()

    return run


class _PeerConvolution(nn.Module):
    """A layer of our network: the spectral convolution of neuraloperator with our weights."""

    def __init__(self, weight_MCKC: torch.Tensor, num_full_modes: int, num_half_modes: int):
        super().__init__()
        self.convolution = SpectralConv(WIDTH, WIDTH, (num_full_modes, num_half_modes), bias=False)
        weight = torch.complex(weight_MCKC[:, :, 0], weight_MCKC[:, :, 1]).detach()
        self.convolution.weight.tensor.data.copy_(
            weight.unflatten(0, (-1, num_full_modes)).permute(2, 3, 1, 0)
        )

    def forward(self, field: torch.Tensor, fourier: TruncatedFourier, addend: torch.Tensor) -> torch.Tensor:
        """Return the same output as `SpectralConvolution`.

        neuraloperator halves the last axis, and our layer halves the first axis.
        """
        output = self.convolution(field.permute(2, 3, 1, 0))
        return addend + output.permute(3, 2, 0, 1)


def _layer_differences(network: nn.Module, num_full_modes: int, num_half_modes: int) -> dict[str, object]:
    """Return the relative differences of loss and gradient to a network with peer convolutions."""
    if not num_full_modes % 2:
        return {}  # our weights cannot represent a lowest mode of a single sign
    peer: Any = copy.deepcopy(network)
    for layer in peer.network.layers:
        layer.spectral = _PeerConvolution(layer.spectral.weight, num_full_modes, num_half_modes)
    results = []
    for model in (network, peer):
        model.zero_grad()
        loss = sum(model(batch()).values())
        loss.backward()
        # The gradient of the lifting weights depends on all layers.
        gradient = torch.cat([weight.grad.flatten() for weight in model.network.lifting.parameters()])
        results.append((loss.detach(), gradient))
        model.zero_grad()
    loss_difference, gradient_difference = (
        float((a - b).norm() / b.norm()) for a, b in zip(*results, strict=True)
    )
    if max(loss_difference, gradient_difference) > 1e-5:
        raise SystemExit(
            f"the losses with equal layers differ by {loss_difference} and the gradients by "
            f"{gradient_difference}; at most 1e-5 is allowed"
        )
    return {
        "equal layers, difference of losses": loss_difference,
        "equal layers, difference of gradients": gradient_difference,
    }


def _count_weights(model: nn.Module) -> int:
    """Return the number of real weights; a complex weight counts twice."""
    return sum(weight.numel() * (2 if weight.is_complex() else 1) for weight in model.parameters())


if __name__ == "__main__":
    main()
