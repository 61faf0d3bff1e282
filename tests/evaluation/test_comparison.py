"""The comparison of models: who is named, and whether the trajectories and the data sets decide it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.evaluation.comparison.models import ComparedModel
from pipeline.evaluation.comparison.page import write
from pipeline.evaluation.intervals.result import CoverageResult, IntervalResult, LevelCoverage
from pipeline.evaluation.metrics.bootstrap import Interval
from pipeline.evaluation.model_table import Row
from tests.evaluation.test_report import make_metrics


def compared(name: str, dataset: str, error: float, low: float, high: float | None) -> ComparedModel:
    """Return a model of a data set, with its median error at the end and the interval of the error."""
    metrics = make_metrics([0.01, error])
    split = metrics.splits["test"]
    surrogate = split.headline["surrogate"].model_copy(
        update={"rollout_end_interval": Interval(low=low, high=high)}
    )
    split = split.model_copy(update={"headline": split.headline | {"surrogate": surrogate}})
    row = Row("run", name, num_parameters=10, one_step=error, rollout_end=error, persistence=0.8)
    metrics = metrics.model_copy(update={"dataset": dataset, "splits": {"test": split}})
    return ComparedModel(row, f"Network for problem {dataset[0]}", metrics)


def conclusion_of(folder: Path, *models: ComparedModel) -> str:
    text = write(folder, models).read_text().replace("\N{NO-BREAK SPACE}", " ")
    match = re.search(r"The smallest median error.*?(?=</p>)|Data set .*?(?=</p>)", text, re.S)
    assert match is not None
    return match[0]


def test_the_best_two_models_are_ranked_by_their_intervals(tmp_path: Path) -> None:
    models = [
        compared("third", "a" * 64, 0.06, 0.05, None),
        compared("first", "a" * 64, 0.02, 0.01, 0.031),
        compared("second", "a" * 64, 0.04, 0.03, 0.05),
    ]
    text = conclusion_of(tmp_path, *models)
    assert "that of run/first, 2 % (95 % interval 1 % to 3.1 %)." in text
    assert "Next is run/second, 4 % (95 % interval 3 % to 5 %)." in text
    assert "The two intervals overlap: the test trajectories do not decide which one is better." in text
    text = conclusion_of(tmp_path, *models[:2])
    assert (
        "Next is run/third, 6 % (95 % interval 5 % to not finite). The two intervals do not overlap." in text
    )


def test_models_of_different_data_sets_are_not_ranked_together(tmp_path: Path) -> None:
    text = conclusion_of(
        tmp_path,
        compared("worse", "a" * 64, 0.06, 0.05, 0.07),
        compared("better", "a" * 64, 0.04, 0.03, 0.045),
        compared("other", "b" * 64, 0.01, 0.01, 0.01),
    )
    first, second = text.split("Data set bbbbbbbbbbbb (problem b): ")
    assert first.startswith("Data set aaaaaaaaaaaa (problem a): The smallest median error")
    assert "run/better, 4 %" in first
    assert "run/other" not in first
    assert "run/other, 1 %" in second
    assert second.endswith("Errors on different data sets do not rank models.")
    assert {path.name for path in (tmp_path / "figures").glob("errors-*")} == {"errors-0.svg", "errors-1.svg"}


def test_the_numbers_have_the_coverage_of_the_90_percent_intervals() -> None:
    model = compared("fno", "a" * 64, 0.06, 0.05, 0.07)
    assert model.numbers()["coverage_90_marginal"] is None
    level = LevelCoverage(
        nominal=0.9, marginal=0.89, marginal_end=None, marginal_standard_error=None, marginal_width=None,
        joint=0.93, joint_standard_error=None, joint_width=None,
    )  # fmt: skip
    coverage = CoverageResult(trajectories=3, fields=[level], quantities={})
    intervals = IntervalResult(
        trajectories=9, scale="residual scale", scale_trajectories=3, splits={"test": coverage}
    )
    assert model.metrics is not None
    metrics = model.metrics.model_copy(update={"intervals": intervals})
    numbers = ComparedModel(model.row, model.title, metrics).numbers()
    assert (numbers["coverage_90_marginal"], numbers["coverage_90_joint"]) == (0.89, 0.93)
    assert numbers["linear_error_median"] == pytest.approx(0.1)
