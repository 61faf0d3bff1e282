"""The linear solution as a baseline of flows, compared with the formula for each wave of the shards."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np

from pipeline.data.dataset import Dataset
from tests.support.launching import require_success, run_stage

OVERRIDES = (
    "solver=navier_stokes",
    "solver.resolution=16",
    "solver.viscosity=[1e-2,2e-2]",
    "solver.drag=[0.1,0.2]",
    "solver.initial={kind: random_field, amplitude: [1.0, 1.0], modes: 4, correlation_length: 0.3}",
    "samples={train: 2, valid: 1, test: 3, test_extrapolation: 0, per_shard: 3}",
    "output={duration: 3.0, steps: 3}",
    "surrogate.width=4",
    "surrogate.modes=2",
    "surrogate.layers=1",
    "training.steps=2",
    "training.batch_size=2",
    "training.warmup_steps=1",
    "evaluation.figures=0",
    "evaluation.worth=0",
)


def test_the_errors_of_the_linear_solution_follow_its_formula(tmp_path: Path) -> None:
    for stage in ("generate", "validate", "train", "evaluate"):
        result = require_success(run_stage(stage, f"run={tmp_path}", *OVERRIDES))
    assert "than the linear solution" in result.stdout
    dataset = Dataset.open(tmp_path / "dataset")
    errors = []
    for index in range(3):
        trajectory = dataset.trajectory("test", index)
        vorticity = np.float64(trajectory.state[:, 0])
        (forcing,) = np.float64(trajectory.coefficient_fields)
        errors.append(
            [
                relative_errors(rollout(vorticity[0], forcing, trajectory.parameters, 3), vorticity[1:]),
                np.concatenate(
                    [
                        relative_errors(rollout(start, forcing, trajectory.parameters, 1), end[None])
                        for start, end in pairwise(vorticity)
                    ]
                ),
            ]
        )
    metrics = json.loads((tmp_path / "models/fno/evaluation/metrics.json").read_text())
    measured = metrics["splits"]["test"]["errors"]["linear"]
    medians = [measured[mode]["relative_l2"]["vorticity"]["median"] for mode in ("rollout", "one_step")]
    np.testing.assert_allclose(medians, np.median(errors, axis=0), rtol=1e-3)
    assert 0.005 < medians[0][-1] < 0.5


def rollout(start: np.ndarray, forcing: np.ndarray, parameters: dict[str, float], frames: int) -> np.ndarray:
    """Return exp(L t) w + (exp(L t) - 1) / L f of each wave after 1, 2, ... s."""
    wave_numbers = 2 * np.pi * np.fft.fftfreq(16, 1 / 16)
    rate = -parameters["viscosity"] * np.add.outer(wave_numbers**2, wave_numbers**2) - parameters["drag"]
    times = np.arange(1.0, frames + 1)[:, None, None]
    spectrum = np.exp(rate * times) * np.fft.fft2(start) + np.expm1(rate * times) / rate * np.fft.fft2(
        forcing
    )
    return np.fft.ifft2(spectrum).real


def relative_errors(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.linalg.norm(prediction - truth, axis=(1, 2)) / np.linalg.norm(truth, axis=(1, 2))
