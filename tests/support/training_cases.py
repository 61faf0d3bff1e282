"""A small data set, and trainings on it: in this process, or several in one start of mpirun."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import hydra
import torch
from omegaconf import OmegaConf

from pipeline import generate, train, validate
from pipeline.config import settings as settings_module
from pipeline.config.settings import Settings
from pipeline.runs.folder import RunFolder
from pipeline.training import checkpoint, fit
from tests.support.launching import mpi, run, succeeded

TINY = (
    "surrogate.width=8",
    "surrogate.modes=6",
    "surrogate.layers=2",
    "training.steps=30",
    "training.batch_size=4",
    "training.warmup_steps=5",
    "training.validate_every=10",
    "training.checkpoint_every=5",
    "training.device=cpu",
)


def generate_dataset(folder: Path, *overrides: str) -> Path:
    """Return the folder of a validated data set of 1-D heat conduction, generated in this process."""
    settings = read(
        f"run={folder}",
        "solver.extent=[1.0]",
        "solver.resolution=24",
        "samples={train: 12, valid: 3, test: 4, test_extrapolation: 0, per_shard: 4}",
        "output={steps: 6, duration: 0.06}",
        *overrides,
    )
    generate.run(settings)
    validate.run(settings)
    return settings.dataset


def read(*overrides: str) -> Settings:
    """Return the settings of a command line."""
    with hydra.initialize_config_module("configs", version_base="1.3"):
        plain = OmegaConf.to_container(hydra.compose("config", overrides=list(overrides)), resolve=True)
    return settings_module.read(plain)  # type: ignore[arg-type]


def words(folder: Path, dataset: Path, *overrides: str) -> list[str]:
    """Return the command line of a tiny training of the FNO."""
    return [f"run={folder}", f"dataset={dataset}", *TINY, *overrides]


def train_model(folder: Path, dataset: Path, *overrides: str, draws: bool = False) -> Path:
    """Return the model folder after a tiny training in this process.

    Without `draws` there is no curves.png, which takes longer than the training.
    """
    settings = read(*words(folder, dataset, *overrides))
    with patch.object(fit, "draw_curves", fit.draw_curves if draws else no_curves):
        train.run(settings)
    return RunFolder.of(settings).model_folder


def no_curves(folder: Path) -> None:
    """Draw nothing."""


def train_together(
    list_file: Path, runs: Sequence[Sequence[str]], ranks: int = 2, stops: Sequence[int] = ()
) -> subprocess.CompletedProcess[str]:
    """Train several command lines one after the other, in one start of mpirun.

    Args:
        list_file: file for the list of command lines.
        runs: command lines of the train stage.
        ranks: ranks of mpirun.
        stops: for the first runs, the step in which rank 0 receives SIGUSR1; 0 for none.

    Returns:
        The result of mpirun; each rank prints `allreduces NUMBER` for each run.
    """
    list_file.write_text(json.dumps({"runs": [list(run) for run in runs], "stops": list(stops)}))
    return succeeded(run(mpi(ranks, "-m", "tests.support.several_trainings", str(list_file))))


def are_identical(model: Path, other: Path) -> bool:
    """Return whether two model folders hold the same bits: weights, log, and the last checkpoint."""
    last, other_last = (
        checkpoint.load(checkpoint.paths(folder / "checkpoints")[-1]) for folder in (model, other)
    )
    assert last.tensors.keys() == other_last.tensors.keys()
    return (
        last.metadata == other_last.metadata
        and (model / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
        and (model / "log.csv").read_bytes() == (other / "log.csv").read_bytes()
        and all(torch.equal(tensor, other_last.tensors[name]) for name, tensor in last.tensors.items())
    )
