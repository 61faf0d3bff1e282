"""The log of a training in the format of MLCommons, which the tools of mlperf-logging read.

Each line is `:::MLLOG` and a JSON object with the keys namespace, time_ms, event_type, key, value and
metadata (https://github.com/mlcommons/logging). Keys that MLCommons does not define have the
prefix `simsurrogate.`.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipeline.evaluation.mlperf.speed import TrainingSpeed, TrainingTimes

_EventType = Literal["INTERVAL_START", "INTERVAL_END", "POINT_IN_TIME"]


@dataclass(frozen=True)
class TrainingDescription:
    """The description of a training at the head of its log.

    Attributes:
        benchmark: the name of the solver and of the surrogate.
        platform: the processor, and the number of ranks.
        started: the start of the first attempt; the log counts the time of the training steps from here.
        seed: the seed of the training.
        options: the settings of `training`.
        num_train: the number of training trajectories.
        num_valid: the number of validation trajectories.
    """

    benchmark: str
    platform: str
    started: datetime.datetime
    seed: int
    options: Mapping[str, Any]
    num_train: int
    num_valid: int


def log_text(description: TrainingDescription, times: TrainingTimes, speed: TrainingSpeed) -> str:
    """Return the log of one network, with the times of `times` since the start of the training.

    The log holds the head of a submission, the interval of the run, and at each validation the error
    (`eval_accuracy`: smaller is better) and the throughput (samples/s). At the end are the shares
    of the time and the time to each error that was reached.
    """
    start = round(1000 * description.started.timestamp())
    namespace = speed.model

    def line(
        key: str,
        value: object,
        seconds: float = 0.0,
        *,
        event_type: _EventType = "POINT_IN_TIME",
        row: int = 0,
        metadata: Mapping[str, object] = {},
    ) -> str:
        entry = {
            "namespace": namespace,
            "time_ms": start + round(1000 * seconds),
            "event_type": event_type,
            "key": key,
            "value": value,
            # The file and the line number are those of the numbers.
            "metadata": {"file": "log.csv", "lineno": row + 1, **metadata},
        }
        return ":::MLLOG " + json.dumps(entry, allow_nan=False)

    def lines() -> Iterator[str]:
        for key, value in _head(description).items():
            yield line(key, value)
        yield line("run_start", None, event_type="INTERVAL_START")
        batch_size, previous = int(description.options["batch_size"]), (0.0, 0.0)
        for row, (step, seconds, error) in enumerate(
            zip(times.steps, times.seconds, times.errors, strict=True), start=1
        ):
            samples = {"step_num": int(step), "samples_count": int(step) * batch_size}
            if np.isfinite(error):
                yield line("eval_accuracy", float(error), seconds, row=row, metadata=samples)
            if seconds > previous[1]:
                rate = batch_size * (step - previous[0]) / (seconds - previous[1])
                yield line("simsurrogate.throughput", float(rate), seconds, row=row, metadata=samples)
            previous = (step, seconds)
        yield line(
            "run_stop",
            None,
            speed.seconds,
            event_type="INTERVAL_END",
            row=len(times.steps),
            metadata={"status": "success"},
        )
        yield line("simsurrogate.samples_per_second", speed.samples_per_second, speed.seconds)
        shares = {name: getattr(speed, name) for name in ("reading", "computing", "communicating")}
        yield line("simsurrogate.time_shares", shares, speed.seconds)
        for target in speed.time_to_error:
            yield line("simsurrogate.time_to_error", target.model_dump(), target.seconds)

    return "\n".join(lines()) + "\n"


def _head(description: TrainingDescription) -> dict[str, object]:
    """Return the events before the run, by the keys of MLCommons."""
    options = description.options
    return {
        "submission_benchmark": description.benchmark,
        "submission_org": "simsurrogate",
        "submission_division": "open",
        "submission_status": "research",
        "submission_platform": description.platform,
        "seed": description.seed,
        "global_batch_size": options["batch_size"],
        "gradient_accumulation_steps": options.get("gradient_accumulation_steps", 1),
        "train_samples": description.num_train,
        "eval_samples": description.num_valid,
        "opt_name": "adamw",
        "opt_base_learning_rate": options.get("learning_rate"),
        "opt_learning_rate_warmup_steps": options.get("warmup_steps"),
        "opt_learning_rate_training_steps": options.get("steps"),
        "opt_weight_decay": options.get("weight_decay"),
        "opt_gradient_clip_norm": options.get("gradient_clip"),
    }
