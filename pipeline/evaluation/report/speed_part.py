"""The part of the report on the speed of the training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.evaluation.report.part import PartTable, ReportPart
from pipeline.evaluation.words import number_text, percent
from pipeline.evaluation.worth_words import duration

if TYPE_CHECKING:
    from pipeline.evaluation.mlperf.speed import TrainingSpeed
    from pipeline.evaluation.schema import Metrics


def speed_part(metrics: Metrics) -> ReportPart:
    """Return the speed of each trained network, or why it is not known."""
    speeds, title = metrics.training_speed, "Speed of the training"
    if not speeds:
        sentence = "The speed is not known, because the model has no log of training steps."
        return ReportPart("training-speed", title, [sentence])
    rows = [
        (
            speed.model,
            f"{speed.samples_per_second:.3g} 1/s",
            duration(speed.seconds),
            percent(speed.reading),
            percent(speed.computing),
            "in computing" if speed.communicating is None else percent(speed.communicating),
            number_text(speed.best_error),
        )
        for speed in speeds
    ]
    headings = (
        "network",
        "samples",
        "all steps",
        "reading",
        "computing",
        "communicating",
        "best valid error",
    )
    tables = [PartTable("Speed and time of the training steps", headings, rows)]
    errors = sorted({target.error for speed in speeds for target in speed.time_to_error}, reverse=True)
    if errors:
        tables.append(
            PartTable(
                "Time of the training steps until the error on the split valid was at most",
                ("network", *(f"{100 * error:.3g} %" for error in errors)),
                [(speed.model, *(_time_to(speed, error) for error in errors)) for speed in speeds],
            )
        )
    first = speeds[0]
    sentence = (
        f"The training of {first.model} took {duration(first.seconds)} in its steps, at "
        f"{first.samples_per_second:.3g} samples per second; {percent(first.reading)} of this time was spent "
        "waiting for data. mlperf.log holds the log in the format of MLCommons."
    )
    return ReportPart("training-speed", title, [sentence], tables=tables)


def _time_to(speed: TrainingSpeed, error: float) -> str:
    """Return the time of a network to an error, or an empty text if the error was not reached."""
    times = [target.seconds for target in speed.time_to_error if target.error == error]
    return duration(times[0]) if times else ""
