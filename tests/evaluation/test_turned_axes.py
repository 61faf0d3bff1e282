"""Losses, the validation error and the errors of the evaluation do not change if the axes are turned."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch

from pipeline import evaluate, train, validate
from pipeline.data.dataset import Dataset
from pipeline.problem import problem_of
from pipeline.runs.folder import RunFolder
from pipeline.training import fit
from surrogates.grids.losses import relative_error
from tests.support.in_process import generate_in_process, settings_of
from tests.support.trainings.training_cases import no_curves

OVERRIDES = (
    "solver=custom",
    "++solver.name=turned_pendulums",
    f"++solver.path={Path(__file__).with_name('turned_pendulums.py')}",
    "samples={train: 6, valid: 2, test: 2, test_extrapolation: 0, per_shard: 4}",
    "output={steps: 4, duration: 0.4}",
    "storage.precision=float64",
    "surrogate=hamiltonian",
    "surrogate.width=8",
    "surrogate.layers=1",
    "surrogate.substeps=2",
    "training.steps=6",
    "training.batch_size=4",
    "training.warmup_steps=1",
    "training.validate_every=3",
    "training.precision=float64",
    "training.device=cpu",
    "evaluation.figures=0",
    "evaluation.worth=0",
)


def numbers_of_run(folder: Path, angle: float) -> tuple[list[float], Dataset]:
    """Return the losses and all errors of a training and an evaluation in turned axes, and the data set."""
    overrides = (*OVERRIDES, f"++solver.angle={angle}")
    generate_in_process(folder, *overrides)
    settings = settings_of(folder, *overrides)
    with patch.object(fit, "draw_curves", no_curves):
        for stage in (validate, train, evaluate):
            stage.run(settings)
    run = RunFolder.of(settings)
    with open(run.model_folder / "log.csv") as file:
        rows = list(csv.DictReader(file))
    numbers = [float(row[key]) for row in rows for key in row if "loss" in key or "error" in key if row[key]]
    errors = json.loads((run.evaluation / "metrics.json").read_text())["splits"]["test"]["errors"]
    for mode in ("one_step", "rollout"):
        for field in ("position", "velocity"):
            for predictor in ("surrogate", "persistence", "mean"):
                numbers += errors[predictor][mode]["relative_l2"][field]["max"]
    return numbers, Dataset.open(run.dataset)


def test_turned_axes_change_no_loss_and_no_error(tmp_path: Path) -> None:
    numbers, dataset = numbers_of_run(tmp_path / "straight", 0.0)
    turned_numbers, turned_dataset = numbers_of_run(tmp_path / "turned", 0.7)
    position, turned_position = (data.trajectory("test", 0).state[:, 0] for data in (dataset, turned_dataset))
    assert np.abs(position - turned_position).max() > 0.1 * np.abs(position).max()
    assert len(numbers) > 40
    np.testing.assert_allclose(turned_numbers, numbers, rtol=1e-9)
    statistics, turned_statistics = (problem_of(data).statistics for data in (dataset, turned_dataset))
    assert statistics.std[0] == statistics.std[1]
    for name in ("std", "delta_std"):
        np.testing.assert_allclose(getattr(turned_statistics, name), getattr(statistics, name), rtol=1e-12)


@pytest.mark.parametrize("fields", [((0, 1),), ((0, 1), (2,))])
def test_the_loss_of_a_vector_on_a_grid_does_not_change_with_the_axes(fields: tuple) -> None:
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2, 3, 5, 4, 3, generator=generator, dtype=torch.float64)
    # A component that passes zero.
    states[:, :, :, :, 1] *= 1e-6
    rotation = torch.tensor([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    turned = states @ rotation.T
    loss, turned_loss = (relative_error(*pair, (1, 2), fields) for pair in (states, turned))
    assert turned_loss.item() == pytest.approx(loss.item(), rel=1e-13)
