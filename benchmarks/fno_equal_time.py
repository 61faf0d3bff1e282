"""Test errors after equal training time of our FNO, the FNO of neuraloperator, and the U-Net of The Well.

FNO is the Fourier neural operator. All models are trained on one core on flows over 10 s from weak random
vorticity. The train stage trains our FNO with its own settings. Each peer has
the training settings of its authors (loss, optimiser, and a schedule that is scaled to the number of steps).
The windows are the same, and the numbers of weights are equal within 10 %. Both peers predict the next frame.
Both peers are also trained to predict the difference between two frames, like our FNO. First, a separate
process measures the time of a training step of each model. Then each model takes as many steps as fit into
the training time of our FNO. The same code computes all test errors: relative L2 errors after one step and
over rollouts.
"""

from __future__ import annotations

import importlib
import math
import os
import subprocess
import sys
import tempfile
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import neuralop
import numpy as np
import the_well
import torch
import yaml
from neuralop.losses import H1Loss
from neuralop.training import AdamW as TheirAdamW
from torch import nn

import configs
import surrogates
from benchmarks.support.measuring import medians_in_processes, print_and_store
from benchmarks.support.training import window_errors
from pipeline.data.dataset import Dataset
from pipeline.problem import problem_of
from pipeline.training.batches.loader import DeviceLoader
from pipeline.training.batches.order import BatchOrder
from pipeline.training.device.malloc import keep_freed_memory
from surrogates import store
from surrogates.autoregressive import AutoregressiveSurrogate
from surrogates.contract import Batch, Problem, Surrogate
from surrogates.inference import fast_matmul

STEPS = 400
BATCH = 8
#: Forced flow that starts from weak vorticity, `initial.kind=matern`.
FLOW = (
    "solver=navier_stokes",
    "samples={train: 64, valid: 8, test: 8, test_extrapolation: 0, per_shard: 4}",
    "output={duration: 10.0, steps: 20}",
    f"training={{steps: 1500, batch_size: {BATCH}, validate_every: 250, checkpoint_every: 250}}",
)
TITLE = "Navier-Stokes at 64^2 (initial.kind=matern, 10 s): test errors after equal training time on one core"


@dataclass(frozen=True)
class Peer:
    """A network with the training settings of its authors.

    `rate` maps the fraction of completed steps to a factor of the learning rate.
    """

    network: Callable[[int, int], nn.Module]
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    optimiser: Callable[..., torch.optim.Optimizer]
    learning_rate: float
    weight_decay: float
    rate: Callable[[float], float]
    predicts_difference: bool = False


def _step_schedule(fraction: float) -> float:
    """Return a rate factor that halves every 100 of 600 epochs, as in neuraloperator for Navier-Stokes."""
    return float(0.5 ** math.floor(6 * fraction))


def _cosine_schedule(fraction: float) -> float:
    """Return a rate factor with a linear warm-up over 5 of 50 epochs and a cosine decay, as in The Well."""
    return fraction / 0.1 if fraction < 0.1 else 0.5 * (1 + math.cos(math.pi * (fraction - 0.1) / 0.9))


def _peer_fno(num_inputs: int, num_outputs: int) -> nn.Module:
    return neuralop.models.FNO(
        n_modes=(24, 22),
        in_channels=num_inputs,
        out_channels=num_outputs,
        hidden_channels=24,
        n_layers=4,
        projection_channel_ratio=4,
    )


def _peer_unet(num_inputs: int, num_outputs: int) -> nn.Module:
    """Return the classic U-Net of The Well.

    Only the module of the U-Net is imported, because other modules need timm.
    """
    name = "the_well.benchmark.models"
    package = types.ModuleType(name)
    package.__path__ = [str(Path(the_well.__path__[0], "benchmark", "models"))]
    sys.modules[name] = package
    module = importlib.import_module(f"{name}.unet_classic")
    return module.UNetClassic(num_inputs, num_outputs, 2, (64, 64), init_features=13)


_THEIR_FNO = Peer(_peer_fno, H1Loss(d=2), TheirAdamW, 3e-4, 1e-4, _step_schedule)
_THEIR_UNET = Peer(_peer_unet, nn.functional.mse_loss, torch.optim.AdamW, 1e-2, 1e-5, _cosine_schedule)
#: The FNO of neuraloperator has the learning rate of its authors. The tuned rates are the best of 1e-3, 3e-3,
#: 1e-2, 3e-2 and 1e-1 on these data. The authors of the U-Net also tune the rate for each data set.
PEERS = {
    "neuraloperator, FNO": _THEIR_FNO,
    "neuraloperator, FNO, tuned": replace(_THEIR_FNO, learning_rate=3e-2),
    "neuraloperator, FNO, tuned, predicts the difference": replace(
        _THEIR_FNO, learning_rate=3e-2, predicts_difference=True
    ),
    "The Well, U-Net, tuned": replace(_THEIR_UNET, learning_rate=1e-1),
    "The Well, U-Net, tuned, predicts the difference": replace(
        _THEIR_UNET, learning_rate=3e-2, predicts_difference=True
    ),
}


def main() -> None:
    """Print and store the one-step error and the rollout error of each model."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, _bound_to_one_core():
        run = Path(folder)
        _run_stage("generate", run)
        _run_stage("validate", run)
        dataset = Dataset.open(run / "dataset")
        seconds = _step_times(run)
        rows = [_our_row(run, dataset, seconds["ours"])]
        for name, peer in PEERS.items():
            steps = round(STEPS * seconds["ours"] / seconds[name])
            row = _row(name, _train_peer(peer, dataset, steps), dataset, steps, seconds[name])
            rows.append({**row, "learning rate": peer.learning_rate})
    print_and_store(
        "fno_equal_time",
        TITLE,
        rows,
        ["torch", "neuraloperator", "the-well"],
    )


def _step_times(run: Path) -> dict[str, float]:
    """Return the time of a training step (s) of each model."""
    builders = {name: partial(_build_step, run / "dataset", name) for name in ("ours", *PEERS)}
    return medians_in_processes(builders, rounds=21)


def _build_step(path: Path, name: str) -> Callable[[], object]:
    """Apply the process settings of a model, and return a training step of the model."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    dataset = Dataset.open(path)
    problem = problem_of(dataset)
    if name == "ours":
        keep_freed_memory()
        with fast_matmul(torch.device("cpu")) as matmul_precision:
            pass
        torch.set_float32_matmul_precision(matmul_precision)
        options = yaml.safe_load((Path(configs.__path__[0]) / "surrogate" / "fno.yaml").read_text())
        model = store.build(options.pop("name"), options, problem, "float32")
        optimiser: torch.optim.Optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    else:
        model = _PeerSurrogate(problem, PEERS[name])
        optimiser = PEERS[name].optimiser(model.parameters(), lr=1e-4)
    windows = DeviceLoader(dataset, 2, torch.empty(0)).take(np.arange(BATCH))

    def step() -> None:
        optimiser.zero_grad()
        torch.stack(list(model(windows).values())).sum().backward()
        optimiser.step()

    return step


def _our_row(run: Path, dataset: Dataset, seconds: float) -> dict[str, object]:
    """Return the row of our FNO, trained by the train stage."""
    # The peers see the same windows.
    options = [f"dataset={run / 'dataset'}", "training.device=cpu", "training.symmetries=none"]
    _run_stage("train", run, *options, f"training.steps={STEPS}", f"training.validate_every={STEPS}")
    return _row("ours, FNO", surrogates.load(run / "models" / "fno"), dataset, STEPS, seconds)


def _train_peer(peer: Peer, dataset: Dataset, steps: int) -> Surrogate:
    torch.manual_seed(0)
    model = _PeerSurrogate(problem_of(dataset), peer)
    loader = DeviceLoader(dataset, 2, next(model.parameters()))
    order = BatchOrder(len(loader), BATCH, 0, 0, 1)
    optimiser = peer.optimiser(model.parameters(), lr=peer.learning_rate, weight_decay=peer.weight_decay)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = peer.learning_rate * peer.rate(step / steps)
        optimiser.zero_grad()
        model(loader.take(order.rank_windows(step)))["theirs"].backward()
        optimiser.step()
    return model.eval()


class _PeerSurrogate(AutoregressiveSurrogate):
    """A network of a peer as a surrogate, from the normalised fields of a frame to the next frame.

    With `predicts_difference` the output is the difference of the frames, in standard deviations of the
    difference.
    """

    def __init__(self, problem: Problem, peer: Peer):
        super().__init__(problem)
        num_inputs = self.inputs.num_fields + self.inputs.num_conditions
        self.network = peer.network(num_inputs, len(problem.spec.channels))
        self.loss, self.predicts_difference = peer.loss, peer.predicts_difference

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the loss of the peer for the output of the network."""
        first_frame, next_frame = (self.inputs.normalise(frame) for frame in batch["state"].unbind(1))
        inputs = self.inputs.fields(first_frame, batch["coefficient_fields"])
        conditions = self.inputs.conditions(batch["parameters"], batch["time"][:, 0])
        truth = (next_frame - first_frame) / self.delta_scale if self.predicts_difference else next_frame
        return {"theirs": self.loss(self._output(inputs, conditions), truth.movedim(-1, 1))}

    def increment(self, inputs_BXI: torch.Tensor, conditions_BQ: torch.Tensor) -> torch.Tensor:
        """Return the normalised difference between the next and the current frame."""
        output = self._output(inputs_BXI, conditions_BQ).movedim(1, -1)
        if self.predicts_difference:
            return output
        return (output - inputs_BXI[..., : output.shape[-1]]) / self.delta_scale

    def _output(self, inputs_BXI: torch.Tensor, conditions_BQ: torch.Tensor) -> torch.Tensor:
        """Return the output of the network, channels first; constant fields represent the parameters."""
        fields = inputs_BXI.movedim(-1, 1)
        constants = conditions_BQ[:, :, None, None].expand(-1, -1, *fields.shape[2:])
        output: torch.Tensor = self.network(torch.cat([fields, constants], dim=1))
        return output


def _row(name: str, model: Surrogate, dataset: Dataset, steps: int, seconds: float) -> dict[str, object]:
    return {
        "model": name,
        "weights": sum(weight.numel() * (2 if weight.is_complex() else 1) for weight in model.parameters()),
        "steps": steps,
        "step, ms": 1e3 * seconds,
        "training, s": steps * seconds,
        "one step, test error": mean_error(model, dataset, 2),
        "rollout, test error": mean_error(model, dataset, len(dataset.times)),
    }


def mean_error(model: Surrogate, dataset: Dataset, length: int) -> float:
    """Return the mean relative L2 error of rollouts over the test windows of `length` frames."""
    windows = dataset.windows("test", length)
    batches = (np.arange(start, min(start + 8, len(windows))) for start in range(0, len(windows), 8))
    errors = [window_errors(model, dataset, windows.take(indices)) for indices in batches]
    return float(np.concatenate([values.ravel() for values in errors]).mean())


def _run_stage(name: str, run: Path, *options: str) -> None:
    subprocess.run(
        [sys.executable, "-m", f"pipeline.{name}", *FLOW, f"run={run}", *options],
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )


@contextmanager
def _bound_to_one_core() -> Iterator[None]:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


if __name__ == "__main__":
    main()
