"""Training of networks that predict all frames: exact resumption, several ranks, and the evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import evaluate
from pipeline.evaluation import schema
from tests.support.trainings.training_cases import (
    are_identical,
    read_settings,
    tiny_arguments,
    train_model,
    train_together,
)

ALL_FRAMES = (
    "surrogate.predicts=all_frames",
    "training.unroll=6",
    "training.noise=0.01",
    "training.ema=0.9",
    "training.steps=12",
    "training.gradient_accumulation_steps=2",
)


def test_two_ranks_that_are_stopped_resume_exactly(dataset: Path, tmp_path: Path) -> None:
    stopped_arguments, uninterrupted_arguments = (
        tiny_arguments(tmp_path / name, dataset, *ALL_FRAMES) for name in ("stopped", "uninterrupted")
    )
    train_together(
        tmp_path / "runs.json", [stopped_arguments, stopped_arguments, uninterrupted_arguments], stops=[7]
    )
    folders = [tmp_path / name / "models" / "fno" for name in ("stopped", "uninterrupted")]
    assert are_identical(*folders)


def test_an_ensemble_of_all_frames_is_trained_and_evaluated(dataset: Path, tmp_path: Path) -> None:
    model = train_model(tmp_path, dataset, *ALL_FRAMES, "ensemble=2")
    settings = read_settings(
        *tiny_arguments(tmp_path, dataset, *ALL_FRAMES, "ensemble=2", "evaluation.figures=1")
    )
    evaluate.run(settings)
    metrics = schema.read(model / "evaluation" / "metrics.json")
    assert metrics.splits["test"].headline["surrogate"].rollout_end.median < 1
    assert (model / "evaluation" / "report.html").is_file()


def test_windows_of_another_length_are_refused_before_the_training(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"predicts 6 steps at once.*Type training\.unroll=6"):
        train_model(tmp_path, dataset, *ALL_FRAMES, "training.unroll=2")
