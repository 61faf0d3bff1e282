"""The self-stated error against exact solutions, and its places: validation, data card and reader."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate

from pipeline import validate
from pipeline.data.card import stated_error as section
from pipeline.data.dataset import Dataset
from pipeline.data.manifest import read_complete_manifest
from tests.support.in_process import generate_in_process, settings_of

SAMPLES = ("samples.train=2", "samples.valid=1", "samples.test=1", "samples.per_shard=2")
HARMONICS = (
    "experiment=heat_parametric",
    "solver.resolution=16",
    "output.steps=5",
    "samples.test_extrapolation=1",
)
ORBITS = ("experiment=kepler", "samples.test_extrapolation=0", "output.steps=20", "solver.accuracy=0.05")


def validated(run: Path, *options: str) -> Dataset:
    """Return a small data set after its validation."""
    folder = generate_in_process(run, *options, *SAMPLES)
    validate.run(settings_of(run, *options, *SAMPLES))
    return Dataset.open(folder)


@pytest.fixture(scope="module")
def harmonics(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return validated(tmp_path_factory.mktemp("harmonics"), *HARMONICS)


@pytest.fixture(scope="module")
def orbits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return validated(tmp_path_factory.mktemp("orbits"), *ORBITS)


@pytest.mark.parametrize("split", ["train", "test_extrapolation"])
def test_the_error_in_space_is_that_of_the_exact_solution(split: str, harmonics: Dataset) -> None:
    trajectory = harmonics.trajectory(split, 0)
    x, y = np.meshgrid(*(axis.centres for axis in harmonics.spec.axes), indexing="ij")
    k, time = trajectory.parameters["diffusivity"], trajectory.time[:, None, None]
    exact = sum(
        trajectory.parameters[f"amplitude_{n}"]
        * np.sin(n * np.pi * x)
        * np.sin(n * np.pi * y)
        * np.exp(-2 * (n * np.pi) ** 2 * k * time)
        for n in (1, 2)
    )
    errors = [
        np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(trajectory.state[:, 0], exact, strict=True)
    ]
    stated = harmonics.self_stated_error
    assert stated is not None
    assert stated.time == "the scheme is exact in time"
    error = stated.splits[split]["temperature"]
    assert error.space is not None
    assert error.time is not None
    assert error.time.largest_worst == 0
    assert error.space.last_worst == pytest.approx(errors[-1], rel=0.1)
    assert error.space.largest_worst == pytest.approx(max(errors), rel=0.1)
    assert error.worst == pytest.approx(errors, rel=0.1)


def test_the_error_of_bodies_is_that_of_an_accurate_solution(orbits: Dataset) -> None:
    trajectory = orbits.trajectory("train", 0)
    masses = trajectory.coefficient_fields[0]

    def rate(_: float, values: np.ndarray) -> np.ndarray:
        position, velocity = values.reshape(2, 2, 2)
        separation = position[:, 1] - position[:, 0]
        pull = separation / np.linalg.norm(separation) ** 3
        return np.concatenate([velocity.ravel(), np.outer(pull, [masses[1], -masses[0]]).ravel()])

    start = trajectory.state[0].ravel()
    solution = integrate.solve_ivp(rate, (0, trajectory.time[-1]), start, "DOP853", rtol=1e-12, atol=1e-12)
    truth = solution.y[:, -1].reshape(4, 2)
    stated = orbits.self_stated_error
    assert stated is not None
    assert stated.space == "particles have no grid"
    for field, part in (("position", slice(2)), ("velocity", slice(2, 4))):
        error = stated.splits["train"][field]
        actual = np.linalg.norm(trajectory.state[-1, part] - truth[part]) / np.linalg.norm(truth[part])
        assert error.space is None
        assert error.time is not None
        assert error.time.last_worst == pytest.approx(actual, rel=0.1)


def test_the_data_card_holds_the_error_once(harmonics: Dataset) -> None:
    path = harmonics.folder / "README.md"
    before = path.read_text()
    assert before.count("## Self-stated error") == 1
    assert before.index("## Self-stated error") < before.index("## Figures")
    manifest = read_complete_manifest(harmonics.folder)
    assert harmonics.self_stated_error is not None
    section.write(path, manifest, harmonics.self_stated_error)
    assert path.read_text() == before


def test_the_validation_holds_the_error_of_each_split(harmonics: Dataset) -> None:
    document = json.loads((harmonics.folder / "validation.json").read_text())["self_stated_error"]
    assert document["trajectories"] == {"train": 1, "test_extrapolation": 1}
    assert document["space"] == "compared with 48 x 48 cells, tolerance 1e-06"
    assert len(document["splits"]["train"]["temperature"]["median"]) == 6
