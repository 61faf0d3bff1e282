"""A model of a solver's data, and a data set of its rollouts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from pipeline import generate, validate
from pipeline.data.card import figures
from tests.support.in_process import settings_of
from tests.support.trainings.training_cases import generate_dataset, train_model

#: The trajectories and frames of the rollouts, as of the solver's data.
ROLLOUTS = (
    "samples={train: 6, valid: 2, test: 2, test_extrapolation: 0, per_shard: 4}",
    "output={steps: 6, duration: 0.06}",
)


@pytest.fixture(autouse=True, scope="module")
def _no_figures() -> Iterator[None]:
    with mock.patch.object(figures, "draw", return_value=[]):
        yield


@pytest.fixture(scope="session")
def solver_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run with validated data of the solver and a model."""
    run = tmp_path_factory.mktemp("solver")
    with mock.patch.object(figures, "draw", return_value=[]):
        train_model(run, generate_dataset(run))
    return run


@pytest.fixture(scope="session")
def rollout_run(solver_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run with validated rollouts of the model."""
    run = tmp_path_factory.mktemp("rollouts")
    with mock.patch.object(figures, "draw", return_value=[]):
        generate_rollouts(run, solver_run / "models" / "fno", "seed=1")
        validate.run(settings_of(run))
    return run


def generate_rollouts(run: Path, model: Path, *overrides: str) -> None:
    """Generate a data set of rollouts of a model."""
    generate.run(settings_of(run, "solver=surrogate", f"solver.model={model}", *ROLLOUTS, *overrides))
