"""A data set and trainings that the tests of the train stage share."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from pipeline.data.manifest import Manifest, read_document, write_document
from pipeline.data.validation import Validation
from simsurrogate.files import sha256_of
from tests.support.trainings.training_cases import generate_dataset, train_model

#: Each process has one thread, because the models are too small for more threads.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a validated data set, which tests must not change."""
    return generate_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def undisturbed_model(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model that was trained on one rank without interruption."""
    return train_model(tmp_path_factory.mktemp("undisturbed"), dataset, draw_figure=True)


@pytest.fixture(scope="session")
def poisoned_dataset(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the data set with a NaN in one cell of trajectory 5 in frame 3, written after the validation."""
    folder = tmp_path_factory.mktemp("poisoned") / "dataset"
    shutil.copytree(dataset, folder)
    poison(folder, trajectory=5, frame=3)
    return folder


def poison(dataset: Path, trajectory: int, frame: int) -> None:
    """Write a NaN into one cell of a training trajectory, as if the validation had not found the NaN."""
    for path in sorted((dataset / "data" / "train").glob("*.hdf5")):
        with h5py.File(path, "r+") as file:
            rows = np.flatnonzero(file["sample"][:] == trajectory)
            if len(rows):
                file["t0_fields/temperature"][rows[0], frame, 7] = np.nan
        if len(rows):
            _accept_changed_shard(dataset, path)
            return
    raise AssertionError(f"trajectory {trajectory} is in no shard")


def _accept_changed_shard(dataset: Path, path: Path) -> None:
    """Write the checksum of a changed shard to the manifest, and accept the new manifest as validated."""
    manifest = read_document(dataset / "manifest.json", Manifest)
    shards = [
        shard.model_copy(update={"sha256": sha256_of(path)}) if shard.file.endswith(path.name) else shard
        for shard in manifest.shards
    ]
    manifest = manifest.model_copy(update={"shards": shards})
    validation = read_document(dataset / "validation.json", Validation)
    write_document(dataset / "manifest.json", manifest)
    write_document(
        dataset / "validation.json",
        validation.model_copy(update={"identity": manifest.identity, "files": {}}),
    )
