"""A small data set, and trainings: in this process, or several trainings under one mpirun."""

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
from pipeline.data.dataset import Dataset
from pipeline.runs.folder import RunFolder
from pipeline.training import checkpoint, fit
from pipeline.training.task import TrainingTask
from tests.support.launching import forked_mpi_command, require_success, run

TINY_TRAINING = (
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
    settings = read_settings(
        f"run={folder}",
        "solver.extent=[1.0]",
        "solver.resolution=24",
        "storage.max_error=0.1",
        "samples={train: 12, valid: 3, test: 4, test_extrapolation: 0, per_shard: 4}",
        "output={steps: 6, duration: 0.06}",
        *overrides,
    )
    generate.run(settings)
    validate.run(settings)
    return settings.dataset


def read_settings(*overrides: str) -> Settings:
    """Return the settings of a command line."""
    with hydra.initialize_config_module("configs", version_base="1.3"):
        container = OmegaConf.to_container(hydra.compose("config", overrides=list(overrides)), resolve=True)
    return settings_module.read(container)  # type: ignore[arg-type]


def tiny_arguments(folder: Path, dataset: Path, *overrides: str) -> list[str]:
    """Return the command line of a tiny training of the FNO."""
    return [f"run={folder}", f"dataset={dataset}", *TINY_TRAINING, *overrides]


def train_model(folder: Path, dataset: Path, *overrides: str, draw_figure: bool = False) -> Path:
    """Return the model folder after a tiny training in this process.

    Without `draw_figure` the stage writes no curves.png, because the figure takes longer than the training.
    """
    settings = read_settings(*tiny_arguments(folder, dataset, *overrides))
    with patch.object(fit, "draw_curves", fit.draw_curves if draw_figure else no_curves):
        train.run(settings)
    return RunFolder.of(settings).model_folder


def task_of(dataset: Path, *overrides: str) -> TrainingTask:
    """Return the task of a tiny training."""
    arguments = tiny_arguments(Path("run"), dataset, *overrides)
    return TrainingTask.of(Dataset.open(dataset), read_settings(*arguments))


def no_curves(folder: Path) -> None:
    """Draw nothing."""


def train_together(
    list_file: Path, runs: Sequence[Sequence[str]], ranks: int = 2, stops: Sequence[int] = ()
) -> subprocess.CompletedProcess[str]:
    """Run several trainings one after the other, under one mpirun.

    Args:
        list_file: file for the list of command lines.
        runs: command lines of the train stage.
        ranks: ranks of mpirun.
        stops: the steps in which rank 0 receives SIGUSR1 in the first runs, 0 for no signal.

    Returns:
        The result of mpirun, in which each rank prints `allreduces NUMBER` for each run.
    """
    list_file.write_text(json.dumps({"runs": [list(run) for run in runs], "stops": list(stops)}))
    return require_success(
        run(forked_mpi_command(ranks, "-m", "tests.support.trainings.several_trainings", str(list_file)))
    )


def are_identical(model: Path, other_model: Path) -> bool:
    """Return whether two model folders have bitwise equal weights, logs and newest checkpoints."""
    checkpoint_of_model, checkpoint_of_other = (
        checkpoint.load(checkpoint.paths(folder / "checkpoints")[-1]) for folder in (model, other_model)
    )
    assert checkpoint_of_model.tensors.keys() == checkpoint_of_other.tensors.keys()
    return (
        checkpoint_of_model.metadata == checkpoint_of_other.metadata
        and (model / "model.safetensors").read_bytes() == (other_model / "model.safetensors").read_bytes()
        and (model / "log.csv").read_bytes() == (other_model / "log.csv").read_bytes()
        and all(
            torch.equal(tensor, checkpoint_of_other.tensors[name])
            for name, tensor in checkpoint_of_model.tensors.items()
        )
    )
