"""The data set and the trainings that tests of the train stage share."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from tests.support.training_cases import generate_dataset, train_model

#: One thread per process: these models are too small to gain from several.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A validated data set; tests must not change it."""
    return generate_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def undisturbed(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that was trained without interruption on one rank."""
    return train_model(tmp_path_factory.mktemp("undisturbed"), dataset, draws=True)


@pytest.fixture(scope="session")
def poisoned(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set with a NaN written after its validation: one cell of trajectory 5, in frame 3."""
    folder = tmp_path_factory.mktemp("poisoned") / "dataset"
    shutil.copytree(dataset, folder)
    poison(folder, trajectory=5, frame=3)
    return folder


def poison(dataset: Path, trajectory: int, frame: int) -> None:
    """Write a NaN into one cell of a training trajectory."""
    for path in sorted((dataset / "data" / "train").glob("*.hdf5")):
        with h5py.File(path, "r+") as file:
            rows = np.flatnonzero(file["sample"][:] == trajectory)
            if len(rows):
                file["t0_fields/temperature"][rows[0], frame, 7] = np.nan
                return
    raise AssertionError(f"trajectory {trajectory} is in no shard")
