"""From bodies to a evaluated surrogate: the chain for particles, what its report shows, and exact resume."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import surrogates
from pipeline.data.dataset import Dataset
from tests.support.launching import mpi, run, stage, succeeded

SIZES = ("samples.train=24", "samples.valid=4", "samples.test=8", "samples.per_shard=24", "output.steps=20")
TRAINING = (
    "training.steps=40",
    "training.batch_size=32",
    "training.warmup_steps=5",
    "training.validate_every=20",
    "training.checkpoint_every=10",
    "surrogate.width=16",
    "evaluation.figures=1",
    "output.duration=2.0",
)
ONE_RANK = ("launcher.ranks.generate=1", "launcher.ranks.validate=1", "launcher.ranks.train=1")
OPTIONS = {"hamiltonian": (), "mlp": ("surrogate=mlp", "training.unroll=20")}


def arguments(folder: Path, name: str, *more: str) -> list[str]:
    return ["experiment=two_body", f"run={folder}", *SIZES, *TRAINING, *OPTIONS[name], *more]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder that the chain left, with both surrogates for particles."""
    folder = tmp_path_factory.mktemp("particles") / "run"
    succeeded(stage("chain", *arguments(folder, "hamiltonian", *ONE_RANK)))
    for name in ("train", "evaluate"):
        succeeded(stage(name, *arguments(folder, "mlp")))
    return folder


def evaluation(folder: Path, name: str) -> Path:
    return folder / "models" / name / "evaluation"


@pytest.mark.parametrize("name", OPTIONS)
def test_the_chain_ends_with_a_judged_surrogate(name: str, evaluated: Path) -> None:
    folder = evaluation(evaluated, name)
    page = (folder / "report.html").read_text()
    for words in (f"{name} as a surrogate of nbody", "angular momentum z", "Invariants at the end", "mass"):
        assert words in page
    drawn = {path.name for path in (folder / "figures").iterdir()}
    assert {"test-errors.png", "test-invariants.png", "training.png"} < drawn
    assert sum(picture.endswith("-bodies.png") for picture in drawn) == 1
    found = json.loads((folder / "metrics.json").read_text())["splits"]["test"]
    assert found["trajectories"] == 8
    assert found["invariants"]["energy"]["size"] == pytest.approx(0.125, rel=1e-4)


def test_the_hamiltonian_keeps_what_the_perceptron_does_not(evaluated: Path) -> None:
    """Each total, in the states that were predicted."""
    kept, lost = (
        json.loads((evaluation(evaluated, name) / "metrics.json").read_text())["splits"]["test"]["invariants"]
        for name in OPTIONS
    )
    for invariant in ("momentum_x", "momentum_y", "angular_momentum_z"):
        assert kept[invariant]["error"]["max"][-1] < 1e-6 < lost[invariant]["error"]["median"][-1]


def test_the_invariants_are_those_of_the_files(evaluated: Path) -> None:
    """At the first frame, which is given, the error is 0; and the energy of predictions is that of bodies."""
    dataset, model = (
        Dataset.open(evaluated / "dataset"),
        surrogates.load(evaluated / "models" / "hamiltonian"),
    )
    found = json.loads((evaluation(evaluated, "hamiltonian") / "metrics.json").read_text())
    error = found["splits"]["test"]["invariants"]["energy"]["error"]
    assert error["max"][0] == 0
    apart = []
    for number in range(dataset.num_trajectories("test")):
        trajectory = dataset.trajectory("test", number)
        given = trajectory.parameters | {"mass": trajectory.coefficient_fields[0]}
        predicted = model.predict(trajectory.state[None, 0], given, dataset.times).mean[0].numpy()
        ends = [
            energy(np.float64(states), trajectory.coefficient_fields[0])
            for states in (predicted, trajectory.state)
        ]
        apart.append(np.abs(ends[0][-1] - ends[1][-1]))
    assert error["median"][-1] == pytest.approx(np.median(apart), rel=1e-4)


def energy(states: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Of two bodies (T, C, 2) with G = 1."""
    distance = np.linalg.norm(states[:, :2, 1] - states[:, :2, 0], axis=1)
    kinetic = 0.5 * (mass * np.square(states[:, 2:]).sum(axis=1)).sum(axis=1)
    result: np.ndarray = kinetic - mass.prod() / distance
    return result


@pytest.mark.parametrize("name", OPTIONS)
def test_killed_and_resumed_gives_the_same_bits(name: str, evaluated: Path, tmp_path: Path) -> None:
    words = arguments(tmp_path, name, f"dataset={evaluated / 'dataset'}")
    killed = run(mpi(1, "-m", "tests.faults.train_killed", *words), KILL_AT_STEP="33")
    assert killed.returncode != 0
    folder = tmp_path / "models" / name
    assert not (folder / "model.json").exists()
    succeeded(stage("train", *words, ranks=1))
    undisturbed = evaluated / "models" / name
    for file in ("model.safetensors", "model.json"):
        assert (folder / file).read_bytes() == (undisturbed / file).read_bytes()


def test_a_surrogate_that_does_not_fit_is_refused_before_any_work(tmp_path: Path) -> None:
    result = stage("chain", f"run={tmp_path / 'run'}", "experiment=two_body", "surrogate=fno")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert re.search("2 particles.*Surrogates that fit: hamiltonian, mlp", result.stderr)
    assert not (tmp_path / "run").exists()
