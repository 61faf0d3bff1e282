"""Training with hard constraints: the error of the model, and resumption after a stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path

import pytest

from pipeline.config.settings import Training
from pipeline.parallel.stopping import StoppedError
from pipeline.training import loop
from pipeline.training.step import Model
from pipeline.training.train_state import TrainState
from surrogates import store
from surrogates.contract import Batch
from tests.support.trainings.training_cases import are_identical, generate_dataset, train_model


@pytest.mark.parametrize(
    ("constraint", "solver"),
    [
        ("mean", ()),
        ("boundary", ("solver.boundary.x=dirichlet", "solver.boundary_values.x=[1.0,2.0]")),
    ],
)
def test_a_constraint_does_not_increase_the_error_and_a_stopped_training_resumes_exactly(
    constraint: str, solver: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = generate_dataset(tmp_path, *solver)
    long_training = ("training.steps=60", "training.checkpoint_every=60", "training.validate_every=60")
    models = [
        train_model(tmp_path / names, dataset, *long_training, f"surrogate.constraints=[{names}]")
        for names in ("", constraint)
    ]
    error_without_constraint, error_with_constraint = (
        store.description(model)["valid_error"] for model in models
    )
    assert error_with_constraint < 1.05 * error_without_constraint

    short_training = ("training.steps=12", "training.checkpoint_every=8", "training.validate_every=12")
    uninterrupted_model = train_model(
        tmp_path / "straight", dataset, *short_training, f"surrogate.constraints=[{constraint}]"
    )
    original_step = loop.train_step

    def step_with_signal(
        model: Model, micro_batches: Iterable[Batch], state: TrainState, options: Training
    ) -> tuple[float, float]:
        if state.step == 5:
            os.kill(os.getpid(), signal.SIGUSR1)
        return original_step(model, micro_batches, state, options)

    arguments = (tmp_path / "stopped", dataset, *short_training, f"surrogate.constraints=[{constraint}]")
    monkeypatch.setattr(loop, "train_step", step_with_signal)
    with pytest.raises(StoppedError, match="of 12"):
        train_model(*arguments)
    monkeypatch.undo()
    assert are_identical(train_model(*arguments), uninterrupted_model)
