"""A small data set, and the train stage on it in this process."""

from __future__ import annotations

from pathlib import Path

import hydra
import torch
from omegaconf import OmegaConf

from pipeline import train
from pipeline.config import settings as settings_module
from pipeline.config.settings import Settings
from pipeline.training import checkpoint
from tests.support.launching import stage, succeeded

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


def made_dataset(folder: Path, *overrides: str) -> Path:
    """A validated data set of 1-D heat conduction with variable diffusivity."""
    size = ("solver.extent=[1.0]", "solver.resolution=24", "samples.train=12", "samples.valid=3")
    more = ("samples.test=1", "samples.per_shard=4", "output.steps=6", "output.duration=0.06")
    succeeded(stage("generate", f"run={folder}", *size, *more, *overrides))
    succeeded(stage("validate", f"run={folder}"))
    return folder / "dataset"


def read(*overrides: str) -> Settings:
    with hydra.initialize_config_module("configs", version_base="1.3"):
        plain = OmegaConf.to_container(hydra.compose("config", overrides=list(overrides)), resolve=True)
    return settings_module.read(plain)  # type: ignore[arg-type]


def trained(folder: Path, dataset: Path, *overrides: str) -> Path:
    """The model folder after the stage ran in this process."""
    settings = read(f"run={folder}", f"dataset={dataset}", *TINY, *overrides)
    train.run(settings)
    return settings.model_folder


def same(one: Path, two: Path) -> bool:
    """Whether two model folders hold the same bits: weights, log, and the last checkpoint."""
    last = [checkpoint.load(checkpoint.paths(folder / "checkpoints")[-1]) for folder in (one, two)]
    assert last[0].tensors.keys() == last[1].tensors.keys()
    return (
        last[0].metadata == last[1].metadata
        and (one / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()
        and (one / "log.csv").read_bytes() == (two / "log.csv").read_bytes()
        and all(torch.equal(tensor, last[1].tensors[name]) for name, tensor in last[0].tensors.items())
    )
