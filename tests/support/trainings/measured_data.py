"""Measured data for tests: the trajectories of a solver, with noise and gaps, adopted from files."""

from __future__ import annotations

import shutil
from pathlib import Path
from unittest.mock import patch

import h5py
import numpy as np

from pipeline import adopt, validate
from pipeline.data.card import figures
from tests.support.trainings.training_cases import generate_dataset, read_settings

#: The standard deviation of the noise, K.
NOISE = 0.5
DESCRIPTION = (
    f"fields: {{temperature: {{noise: {NOISE}}}, diffusivity: {{}}}}\ngaps: true\n"
    "origin: {kind: measurement, source: laboratory}\n"
)
SAMPLES = "samples={train: 4, valid: 2, test: 3, test_extrapolation: 0, per_shard: 4}"


def measured_dataset(folder: Path, description: str = DESCRIPTION, *overrides: str) -> Path:
    """Return a validated data set of measurements of the system of `generate_dataset`.

    A third of the values is missing, and so is the whole second frame of the first trajectory of a shard.
    """
    solved = generate_dataset(folder / "solved", "seed=5", SAMPLES, *overrides)
    shutil.copytree(solved / "data", folder / "files" / "data")
    rng = np.random.default_rng(0)
    for path in sorted((folder / "files").rglob("*.hdf5")):
        with h5py.File(path, "r+") as file:
            temperature = file["t0_fields/temperature"]
            values = temperature[...] + NOISE * rng.standard_normal(temperature.shape)
            if "gaps" in description:
                values[rng.random(values.shape) < 1 / 3] = np.nan
                values[0, 1] = np.nan
            temperature[...] = values
    (folder / "adopt.yaml").write_text(description)
    settings = read_settings(
        f"run={folder}", f"source={folder / 'files'}", f"description={folder / 'adopt.yaml'}", "format=well"
    )
    with patch.object(figures, "draw", return_value=[]):
        adopt.run(settings)
    validate.run(settings)
    return settings.dataset
