"""The verdict on a surrogate: it follows from errors, baselines, speed and predictable times."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pipeline.data.accuracy import ErrorOverTime, FieldError, SelfStatedError
from pipeline.evaluation.report.data_error import data_errors, error_text, fields_below_data_error
from pipeline.evaluation.report.errors_part import data_error_sentences
from pipeline.evaluation.report.verdict import Level, verdict_of
from pipeline.evaluation.schema import DataError, Metrics, PredictabilityResult, Summary
from pipeline.evaluation.worth_result import BreakEven, SettingResult, SpeedUp, SurrogateResult, WorthResult
from simsurrogate.spec import Spec
from tests.evaluation.test_report import make_metrics
from tests.support import problems


def with_worth(metrics: Metrics, query: float, batch: float) -> Metrics:
    """Return the results with a comparison in which a query and a batch are that many times faster."""
    worth = WorthResult(
        processor="",
        num_requested=1,
        frames="all",
        trajectories=[0],
        reference="",
        settings=[SettingResult(name="own", seconds=1.0, batch_seconds=1.0, error=0.001)],
        surrogate=SurrogateResult(
            first_query_seconds=1.0, query_seconds=1.0, batch_size=4, batch_seconds=1.0, error=0.01
        ),
        solver_seconds=1.0,
        speed_up=SpeedUp(median=query, min=query, max=query),
        batch_speed_up=SpeedUp(median=batch, min=batch, max=batch),
        break_even=BreakEven(generation_seconds=1.0, training_seconds=1.0, queries=None),
    )
    return metrics.model_copy(update={"worth": worth})


@pytest.mark.parametrize(
    ("error", "query", "batch", "level", "phrase"),
    [
        # The error of the best baseline, the linear solution, is 0.1.
        (0.02, 7.0, 30.0, "good", "one query is 7 times faster than the solver"),
        (0.02, 0.5, 30.0, "batches", "a batch is 30 times faster than the solver"),
        (0.02, 0.1, 0.5, "useless", "the solver is 10 times faster at the same error"),
        (0.02, 1.0, 1.0, "useless", "the solver takes the same time"),
        (0.06, 7.0, 30.0, "poor", "1.67 times smaller error than the linear solution"),
        (0.2, 7.0, 30.0, "worse", "2 times larger error than the linear solution"),
        (None, 7.0, 30.0, "worse", "at least half of its rollouts grow without bound"),
    ],
)
def test_a_verdict_names_its_reason(
    error: float | None, query: float, batch: float, level: Level, phrase: str
) -> None:
    verdict = verdict_of(with_worth(make_metrics([0.01, error]), query, batch))
    assert verdict.level == level
    assert phrase in verdict.sentence


def test_without_a_comparison_a_surrogate_is_good_by_its_error_alone() -> None:
    verdict = verdict_of(make_metrics([0.01, 0.02]))
    assert verdict.level == "good"
    assert "was not compared" in verdict.sentence


def test_a_field_that_dies_out_has_no_verdict() -> None:
    assert verdict_of(make_metrics([0.01, 0.02], num_vanished=3)).level == "open"


def test_chaotic_trajectories_are_judged_where_they_are_predictable() -> None:
    metrics = make_metrics([0.01, 0.9])
    assert verdict_of(metrics).level == "worse"
    result = metrics.splits["test"]

    def summary(value: float) -> Summary:
        return Summary(median=value, mean=value, q10=value, q90=value, max=value)

    inside = {name: summary(0.5) for name in result.headline} | {"surrogate": summary(0.02)}
    predictability = PredictabilityResult(complete=1, inside=inside, beyond=inside)
    split = result.model_copy(update={"predictability": predictability})
    verdict = verdict_of(metrics.model_copy(update={"splits": {"test": split}}))
    assert verdict.level == "good"
    assert "at the last predictable frame is 2\N{NO-BREAK SPACE}%" in verdict.sentence


def test_an_error_below_that_of_the_data_is_named_at_the_last_known_frame() -> None:
    metrics = make_metrics([0.01, 0.02])
    error = DataError(median=[0.0, 0.015, 0.03], worst=[0.0, 0.02, 0.04], source="by a sample")
    assert (
        error_text(error, metrics.time)
        == "3\N{NO-BREAK SPACE}% (median; worst 4\N{NO-BREAK SPACE}%) at t = 1 s"
    )
    assert fields_below_data_error(metrics, "test", {"test": {"u": error}}) == [("u", 0.02, 0.03)]
    unknown_end = DataError(median=[0.0, 0.015, None], worst=[0.0, 0.02, None], source="by a sample")
    assert fields_below_data_error(metrics, "test", {"test": {"u": unknown_end}}) == [("u", 0.01, 0.015)]
    small = DataError(median=[None, None, 0.01], worst=[None, None, 0.01], source="by an estimate")
    assert error_text(small, metrics.time) == "1\N{NO-BREAK SPACE}% at t = 1 s"
    assert fields_below_data_error(metrics, "test", {"test": {"u": small}}) == []
    assert fields_below_data_error(metrics, "test", {}) == []


def stated_sentences(spec: Spec, field: str, *, space: str, time: str, missing: str = "") -> list[str]:
    """Return the sentences on an error that is 3 % at 0.5 s and unknown later, without the part `missing`."""
    part = ErrorOverTime(last_median=0.03, last_worst=0.03, largest_median=0.03, largest_worst=0.03)
    error = FieldError(
        space=None if missing == "space" else part,
        time=None if missing == "time" else part,
        median=[0.0, 0.03, None],
        worst=[0.0, 0.03, None],
    )
    stated = SelfStatedError(
        splits={"train": {field: error}},
        trajectories={"train": 1},
        space=space,
        time=time,
        frames="predictable",
        core_seconds=1.0,
        relative_cost=0.1,
    )
    errors = data_errors(SimpleNamespace(spec=spec, self_stated_error=stated))
    context = SimpleNamespace(metrics=make_metrics([0.01, 0.02]).model_copy(update={"data_errors": errors}))
    return data_error_sentences(context, "test")


def test_the_error_of_the_data_names_its_time_its_references_and_a_missing_part() -> None:
    grid, bodies = problems.grid_problem((20,), ("periodic",)).spec, problems.particle_problem().spec
    percent = "3\N{NO-BREAK SPACE}%"
    cells, steps = "compared with 60 cells, tolerance 0.01", "compared with a tolerance of 0.01"
    assert stated_sentences(grid, "temperature", space=cells, time=steps) == [
        f"The error of the data themselves is {percent} at t = 0.5 s, from trajectories that were solved "
        f"again (in space: {cells}; in time: {steps})."
    ]
    (sentence,) = stated_sentences(grid, "temperature", space="no finer grid", time=steps, missing="space")
    assert (
        f"(in time: {steps}); the error in space is not included, because no finer grid, so the sum"
        in sentence
    )
    (sentence,) = stated_sentences(grid, "temperature", space=cells, time="no tolerance", missing="time")
    assert "the error in time is not included, because no tolerance, so the sum is too small" in sentence
    # Bodies have no error in space that could be missing.
    (sentence,) = stated_sentences(
        bodies, "position", space="no grid", time="compared with x", missing="space"
    )
    assert sentence.endswith("solved again (in time: compared with x).")


def test_a_field_below_the_error_of_the_data_is_named_with_the_time() -> None:
    errors = {
        "test": {"u": DataError(median=[0.0, 0.015, None], worst=[0.0, 0.02, None], source="by a sample")}
    }
    context = SimpleNamespace(metrics=make_metrics([0.01, 0.02]).model_copy(update={"data_errors": errors}))
    _, sentence = data_error_sentences(context, "test")
    assert sentence.startswith(
        "The error of u at t = 0.5 s, 1\N{NO-BREAK SPACE}%, is below the error of the data"
    )
