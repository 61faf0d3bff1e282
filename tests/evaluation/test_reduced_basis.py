"""The evaluation of a reduced basis, and of quantities of interest, of a small bar with drawn amplitudes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mpi4py import MPI

import surrogates
from pipeline.config.build import build_recorded_solver
from pipeline.data.dataset import Dataset
from pipeline.evaluation import cases
from simsurrogate.relative_l2 import norm_floor
from solvers.contract import Trajectory
from surrogates.pod import POD
from tests.support.launching import require_success, run_stage

OVERRIDES = (
    "solver=heat",
    "solver.extent=[1.0]",
    "solver.resolution=24",
    "solver.boundary.x=dirichlet",
    "solver.diffusivity={kind: constant, range: [0.5, 2.0]}",
    "solver.initial={kind: harmonics, count: 3}",
    "solver.wall_fluxes=[x_upper]",
    "quantities=[{name: hottest, of: temperature, reduce: max}]",
    "output={duration: 0.05, steps: 5}",
    "samples={train: 12, valid: 2, test: 4, test_extrapolation: 0, per_shard: 12}",
    "storage.max_error=0.2",
    "surrogate.width=8",
    "surrogate.layers=1",
    "training.steps=20",
    "training.batch_size=6",
    "training.warmup_steps=1",
    "training.validate_every=20",
    "evaluation.figures=1",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run folder with the evaluations of `pod` and `scalars`."""
    path = tmp_path_factory.mktemp("bar")
    for stage in ("generate", "validate"):
        require_success(run_stage(stage, f"run={path}", *OVERRIDES, "surrogate=pod"))
    for name in ("pod", "scalars"):
        options = (f"surrogate={name}", *(["surrogate.modes=2"] if name == "pod" else []))
        for stage in ("train", "evaluate"):
            require_success(run_stage(stage, f"run={path}", *OVERRIDES, *options))
    return path


def metrics_of(folder: Path, model: str) -> dict:
    text = (folder / f"models/{model}/evaluation/metrics.json").read_text()
    result: dict = json.loads(text)["splits"]["test"]
    return result


def test_the_errors_of_projection_and_regression_are_those_of_the_basis(folder: Path) -> None:
    dataset, model = Dataset.open(folder / "dataset"), surrogates.load(folder / "models/pod")
    assert isinstance(model, POD)
    assert int(model.num_modes) == 2
    floor = norm_floor(dataset.statistics["std"]["temperature"] * np.ones(1), 24)
    projections, regressions = [], []
    for position in range(4):
        trajectory = dataset.trajectory("test", position)
        truth = trajectory.state[1:]
        closest = model.closest(torch.from_numpy(truth)).numpy()
        parameters = trajectory.parameters
        predicted = model.predict(trajectory.state[:1], parameters, trajectory.time).mean[0, 1:].numpy()
        scale = np.maximum(np.linalg.norm(truth, axis=(1, 2)), floor)
        projections.append(np.linalg.norm(closest - truth, axis=(1, 2)) / scale)
        regressions.append(np.linalg.norm(predicted - closest, axis=(1, 2)) / scale)
    errors = metrics_of(folder, "pod")["errors"]
    for name, expected in (("projection", projections), ("regression", regressions)):
        measured = errors[name]["rollout"]["relative_l2"]["temperature"]["median"]
        np.testing.assert_allclose(measured, np.median(expected, axis=0), rtol=1e-3)
    report = (folder / "models/pod/evaluation/report.html").read_text()
    assert "from the projection onto the reduced basis" in report
    record = json.loads((folder / "records/train-000.json").read_text())
    assert record["preparation"].startswith("2 modes of 72 frames leave out ")


def test_quantities_are_evaluated_like_fields_with_their_standard_deviation(folder: Path) -> None:
    result = metrics_of(folder, "scalars")
    assert list(result["errors"]) == ["surrogate", "persistence", "mean"]
    assert list(result["errors"]["surrogate"]["rollout"]["relative_l2"]) == ["flux_x_upper", "hottest"]
    assert result["invariants"] == {}
    assert result["ensemble_spread"]["members"] == 1
    assert result["ensemble_spread"]["ratio_to_error"] > 0
    report = (folder / "models/scalars/evaluation/report.html").read_text()
    assert "The predicted standard deviation is" in report


def quantities_of(trajectory: Trajectory, times: np.ndarray) -> tuple[float, float]:
    """Return the flux through the upper wall and the largest temperature of the last frame."""
    *_, state = trajectory.solve(times)
    return trajectory.quantities(state)["flux_x_upper"], float(state.max())


def test_quantities_are_compared_with_those_of_the_solver_at_cheaper_settings(folder: Path) -> None:
    options = (f"run={folder}", *OVERRIDES, "surrogate=scalars", "evaluation.worth=2")
    require_success(run_stage("evaluate", *options))
    metrics = json.loads((folder / "models/scalars/evaluation/metrics.json").read_text())
    *settings, reference = metrics["worth"]["settings"]
    dataset = Dataset.open(folder / "dataset")
    solver = build_recorded_solver(dataset.configuration, {}, MPI.COMM_SELF)
    fine = solver.reference_setting()
    assert fine is not None
    assert reference["name"] == fine.name
    # The quantities of the data's own setting, against those of the reference solution.
    errors = []
    for parameters in cases.load(dataset, "test", range(2)).solver_parameters:
        own, true = np.array(
            [quantities_of(s.prepare(parameters), dataset.times) for s in (solver, fine.solver)]
        )
        errors.append(np.mean(np.abs(own - true) / np.abs(true)))
    own_setting = settings[0]
    np.testing.assert_allclose(own_setting["error"], np.median(errors), rtol=1e-6)
