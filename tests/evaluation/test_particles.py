"""The chain for particles: evaluation, invariants in the report, and exact resumption."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import surrogates
from pipeline.data.dataset import Dataset
from tests.support.launching import forked_mpi_command, require_success, run, run_stage

SIZES = (
    "samples.train=24", "samples.valid=4", "samples.test=8", "samples.calibration=0",
    "samples.per_shard=24", "output.steps=20",
)  # fmt: skip
TRAINING = (
    "training.steps=40",
    "training.batch_size=32",
    "training.warmup_steps=5",
    "training.validate_every=20",
    "training.checkpoint_every=10",
    "surrogate.width=16",
    "evaluation.figures=1",
    "evaluation.worth=0",
    "output.duration=2.0",
)
ONE_RANK = ("launcher.ranks.generate=1", "launcher.ranks.validate=1", "launcher.ranks.train=1")
OPTIONS = {"hamiltonian": (), "mlp": ("surrogate=mlp", "training.unroll=20")}


TITLES = {
    "hamiltonian": "Hamiltonian network for bodies under their own gravity (2 particles in 2-D)",
    "mlp": "Multilayer perceptron (MLP) for bodies under their own gravity (2 particles in 2-D)",
}


def stage_arguments(folder: Path, name: str, *overrides: str) -> list[str]:
    return ["experiment=two_body", f"run={folder}", *SIZES, *TRAINING, *OPTIONS[name], *overrides]


@pytest.fixture(scope="module")
def evaluated_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run folder with both surrogates for particles, trained and evaluated."""
    folder = tmp_path_factory.mktemp("particles") / "run"
    require_success(run_stage("chain", *stage_arguments(folder, "hamiltonian", *ONE_RANK)))
    for name in ("train", "evaluate"):
        require_success(run_stage(name, *stage_arguments(folder, "mlp")))
    return folder


def evaluation_folder(folder: Path, name: str) -> Path:
    return folder / "models" / name / "evaluation"


def results_on_test(folder: Path, name: str) -> dict[str, Any]:
    """Return the results of a surrogate on the test split."""
    results: dict[str, Any] = json.loads((evaluation_folder(folder, name) / "metrics.json").read_text())[
        "splits"
    ]["test"]
    return results


@pytest.mark.parametrize("name", OPTIONS)
def test_the_chain_ends_with_an_evaluated_surrogate(name: str, evaluated_run: Path) -> None:
    folder = evaluation_folder(evaluated_run, name)
    page = (folder / "report.html").read_text()
    for phrase in (TITLES[name], "angular momentum z", "Invariants at the end", "mass"):
        assert phrase in page
    figure_names = {path.name for path in (folder / "figures").iterdir()}
    assert {"test-errors-position-rollout.svg", "test-invariant-energy.svg", "training.svg"} < figure_names
    assert sum(figure_name.endswith("-bodies.svg") for figure_name in figure_names) == 1
    results = results_on_test(evaluated_run, name)
    assert results["trajectories"] == 8
    assert results["invariants"]["energy"]["size"] == pytest.approx(0.125, rel=1e-4)


def test_the_hamiltonian_conserves_the_invariants_and_the_perceptron_does_not(evaluated_run: Path) -> None:
    """Compare the momentum and the angular momentum of the predicted states."""
    hamiltonian, perceptron = (results_on_test(evaluated_run, name)["invariants"] for name in OPTIONS)
    for invariant in ("momentum_x", "momentum_y", "angular_momentum_z"):
        assert (
            hamiltonian[invariant]["error"]["max"][-1] < 1e-6 < perceptron[invariant]["error"]["median"][-1]
        )


def test_the_errors_of_invariants_follow_from_the_shards(evaluated_run: Path) -> None:
    # The error of the first frame is 0, because the model starts from it.
    dataset = Dataset.open(evaluated_run / "dataset")
    model = surrogates.load(evaluated_run / "models" / "hamiltonian")
    error = results_on_test(evaluated_run, "hamiltonian")["invariants"]["energy"]["error"]
    assert error["max"][0] == 0
    differences = []
    for index in range(dataset.num_trajectories("test")):
        trajectory = dataset.trajectory("test", index)
        parameters = trajectory.parameters | {"mass": trajectory.coefficient_fields[0]}
        prediction = model.predict(trajectory.state[None, 0], parameters, dataset.times).mean[0].numpy()
        energies = [
            energy_of(np.float64(states), trajectory.coefficient_fields[0])
            for states in (prediction, trajectory.state)
        ]
        differences.append(np.abs(energies[0][-1] - energies[1][-1]))
    assert error["median"][-1] == pytest.approx(np.median(differences), rel=1e-4)


def energy_of(states: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Return the energy (T,) of two bodies (T, C, 2) with G = 1."""
    distance = np.linalg.norm(states[:, :2, 1] - states[:, :2, 0], axis=1)
    kinetic = 0.5 * (mass * np.square(states[:, 2:]).sum(axis=1)).sum(axis=1)
    result: np.ndarray = kinetic - mass.prod() / distance
    return result


@pytest.mark.parametrize("name", OPTIONS)
def test_a_killed_and_resumed_training_has_the_same_bits(
    name: str, evaluated_run: Path, tmp_path: Path
) -> None:
    overrides = stage_arguments(tmp_path, name, f"dataset={evaluated_run / 'dataset'}")
    killed_training = run(
        forked_mpi_command(1, "-m", "tests.faults.train_killed", *overrides), KILL_AT_STEP="33"
    )
    assert killed_training.returncode != 0
    folder = tmp_path / "models" / name
    assert not (folder / "model.json").exists()
    require_success(run_stage("train", *overrides, ranks=1))
    reference = evaluated_run / "models" / name
    for file in ("model.safetensors", "model.json"):
        assert (folder / file).read_bytes() == (reference / file).read_bytes()


def test_a_surrogate_that_does_not_fit_is_refused_before_any_work(tmp_path: Path) -> None:
    result = run_stage("chain", f"run={tmp_path / 'run'}", "experiment=two_body", "surrogate=fno")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert re.search("2 particles.*Surrogates that fit: hamiltonian, mlp", result.stderr)
    assert not (tmp_path / "run").exists()
