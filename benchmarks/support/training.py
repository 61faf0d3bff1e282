"""Common steps of surrogate benchmarks: generation of data, training, and test errors."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import surrogates
from pipeline import generate, train, validate
from pipeline.config.build import user_file
from pipeline.data.dataset import Dataset
from pipeline.runs.folder import RunFolder
from simsurrogate.relative_l2 import relative_l2
from surrogates.contract import Surrogate
from tests.support.trainings.training_cases import read_settings


def generate_dataset(folder: Path, *overrides: str) -> Path:
    """Generate and validate a data set, and return its folder."""
    settings = read_settings(f"run={folder}", *overrides)
    for stage in (generate, validate):
        stage.run(settings)
    return settings.dataset


def train_surrogate(folder: Path, dataset: Path, *overrides: str) -> tuple[Surrogate, float]:
    """Train a surrogate, and return the surrogate and the mean time (s) of its last steps."""
    settings = read_settings(f"run={folder}", f"dataset={dataset}", "training.device=cpu", *overrides)
    train.run(settings)
    with open(RunFolder.of(settings).model_folder / "timing.csv", encoding="utf-8") as file:
        *_, last_row = csv.DictReader(file)
    model_folder, path = RunFolder.of(settings).model_folder, user_file(settings.surrogate)
    return surrogates.load(model_folder, path=path), float(last_row["seconds_per_step"])


def rollout_errors(surrogate: Surrogate, dataset: Path) -> np.ndarray:
    """Return the relative L2 error of rollouts on the test split, for each frame after the first.

    The shape is (trajectories, frames, channels).
    """
    data = Dataset.open(dataset)
    windows = data.windows("test", len(data.times))
    return window_errors(surrogate, data, windows.take(np.arange(len(windows))))


def window_errors(surrogate: Surrogate, data: Dataset, batch: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the relative L2 error of the rollouts of a batch of windows, for each frame after the first.

    The shape is (windows, frames, channels).
    """
    coefficients = np.moveaxis(batch["coefficient_fields"], 1, 0)
    values_by_name = dict(zip(data.spec.coefficient_channels, coefficients, strict=True))
    values_by_name |= dict(zip(data.spec.parameter_names, batch["parameters"].T, strict=True))
    truth = batch["state"][:, 1:]
    prediction = surrogate.predict(batch["state"][:, 0], values_by_name, batch["time"][0]).mean.numpy()[:, 1:]

    def norm(values: np.ndarray) -> np.ndarray:
        return np.linalg.norm(values.reshape(*values.shape[:3], -1), axis=-1)

    return relative_l2(prediction, truth, norm, floor=0.0)
