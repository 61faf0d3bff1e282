"""The speed of a training: samples per second, its parts, and the time to an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.evaluation.section import Section
from simsurrogate.documents import read_csv
from simsurrogate.errors import UserError

#: The validation errors whose times are listed.
TARGET_ERRORS = tuple(digit * 10.0**exponent for exponent in range(-1, -7, -1) for digit in (5, 2, 1))

_REMEDY = "Train the model again with overwrite=true"


class TimeToError(Section):
    """The first step whose validation error is at most `error`, and the time (s) of all steps up to it."""

    error: float
    step: int
    seconds: float


class TrainingSpeed(Section):
    """The speed of the training of one network, from log.csv and timing.csv.

    All times are those of the training steps, without validation and checkpoints. `reading`, `computing` and
    `communicating` are shares of this time; `communicating` is null where it overlaps the computation (GPUs),
    and then belongs to `computing`. `time_to_error` lists the errors of `TARGET_ERRORS` that were reached.
    """

    model: str
    steps: int
    seconds: float
    samples_per_second: float
    reading: float
    computing: float
    communicating: float | None
    best_error: float | None
    time_to_error: list[TimeToError]


class TrainingTimes:
    """The rows of the log of a training with their times.

    Attributes:
        steps: the step of each row.
        seconds: the time (s) of all steps up to each row.
        errors: the validation error of each row; NaN for a row without one.
        losses: the training loss of each row.
        reading: the share of the time in which the steps waited for data.
        communicating: the share in which gradients were averaged; NaN if it was not measured.

    Raises:
        UserError: a file is missing or damaged.
    """

    def __init__(self, folder: Path):
        log, timing = (read_csv(folder / name, _REMEDY) for name in ("log.csv", "timing.csv"))
        needed = ({"step", "valid_error", "train_loss"}, {"step", "seconds_per_step", "data_wait_share"})
        for name, columns, names in zip(("log.csv", "timing.csv"), (log, timing), needed, strict=True):
            if missing := names - columns.keys():
                raise UserError(
                    f"{folder / name} has no column {', '.join(sorted(missing))}. The log of a training has "
                    f"it. {_REMEDY}"
                )
        timed = dict(zip(timing["step"], range(len(timing["step"])), strict=True))
        is_timed = np.array([step in timed for step in log["step"]], bool)
        rows = [timed[step] for step in np.array(log["step"])[is_timed]]
        self.steps, self.errors, self.losses = (
            np.array(log[name])[is_timed] for name in ("step", "valid_error", "train_loss")
        )
        seconds = np.array(timing["seconds_per_step"])[rows] * np.diff(self.steps, prepend=0.0)
        self.seconds = np.cumsum(seconds)
        self.reading = _share(np.array(timing["data_wait_share"])[rows], seconds)
        communication = timing.get("communication_share", [np.nan] * len(timing["step"]))
        self.communicating = _share(np.array(communication)[rows], seconds)

    def speed(self, model: str, batch_size: int) -> TrainingSpeed | None:
        """Return the speed of the training of `model`, or None without a row or a positive time."""
        if not len(self.steps) or not self.seconds[-1] > 0:
            return None
        is_measured = np.isfinite(self.communicating)
        other_shares = self.reading + (self.communicating if is_measured else 0.0)
        return TrainingSpeed(
            model=model,
            steps=int(self.steps[-1]),
            seconds=float(self.seconds[-1]),
            samples_per_second=batch_size * float(self.steps[-1] / self.seconds[-1]),
            reading=self.reading,
            computing=max(1.0 - other_shares, 0.0),
            communicating=self.communicating if is_measured else None,
            best_error=float(np.nanmin(self.errors)) if np.isfinite(self.errors).any() else None,
            time_to_error=[
                TimeToError(error=target, step=int(self.steps[row]), seconds=float(self.seconds[row]))
                for target in TARGET_ERRORS
                for row in np.flatnonzero(self.errors <= target)[:1]
            ],
        )


def _share(shares: np.ndarray, seconds: np.ndarray) -> float:
    """Return the mean of shares, weighted by the times (s) of the rows."""
    return float((shares * seconds).sum() / seconds.sum()) if len(seconds) and seconds.sum() > 0 else np.nan
