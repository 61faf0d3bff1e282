"""What benchmarks of surrogates do alike: make data, train through the stage, judge on the test split."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

import surrogates
from pipeline import generate, train, validate
from pipeline.data.dataset import Dataset
from surrogates.contract import Surrogate
from tests.support.training_cases import read


def made(folder: Path, *overrides: str) -> Path:
    """The folder of a data set that was generated and validated."""
    settings = read(f"run={folder}", *overrides)
    for stage in (generate, validate):
        stage.run(settings)
    return settings.dataset


def fitted(folder: Path, dataset: Path, *overrides: str) -> tuple[Surrogate, float]:
    """A surrogate from the train stage, and the seconds of its last steps."""
    settings = read(f"run={folder}", f"dataset={dataset}", "training.device=cpu", *overrides)
    train.run(settings)
    with open(settings.model_folder / "timing.csv", encoding="utf-8") as file:
        *_, last = csv.DictReader(file)
    return surrogates.load(settings.model_folder), float(last["seconds_per_step"])


def errors(surrogate: Surrogate, dataset: Path) -> np.ndarray:
    """The relative L2 error of roll-outs of the test split, for each frame after the first (trajectories,
    frames, channels).
    """
    opened = Dataset.open(dataset)
    windows = opened.windows("test", len(opened.times))
    batch = windows.take(np.arange(len(windows)))
    named = dict(zip(opened.coefficients, np.moveaxis(batch["coefficient_fields"], 1, 0), strict=True))
    named |= dict(zip(opened.parameters, batch["parameters"].T, strict=True))
    truth = batch["state"][:, 1:]
    missed = surrogate.predict(batch["state"][:, 0], named, batch["time"][0]).mean.numpy()[:, 1:] - truth
    of_frames = [np.linalg.norm(each.reshape(*each.shape[:3], -1), axis=-1) for each in (missed, truth)]
    found: np.ndarray = of_frames[0] / of_frames[1]
    return found
