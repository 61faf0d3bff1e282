"""The accuracy of the trajectories of a data set: expected and self-stated errors, and predictable times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from pipeline.data.plan import Split


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ExpectedError(_Record):
    """The estimated error of the last frame due to the grid and due to the steps in time, relative."""

    grid: Annotated[float, Field(ge=0)]
    time: Annotated[float, Field(ge=0)]


class Predictability(_Record):
    """The predictable times (s) of the trajectories of a split.

    `complete` is the number of trajectories that are predictable up to the last frame.
    """

    trajectories: Annotated[int, Field(ge=1)]
    complete: Annotated[int, Field(ge=0)]
    median: float
    minimum: float

    @classmethod
    def of(cls, times: Sequence[float], duration: float) -> Predictability:
        """Return the summary of the predictable times of one split."""
        return cls(
            trajectories=len(times),
            complete=int(np.count_nonzero(np.asarray(times) >= duration)),
            median=float(np.median(times)),
            minimum=min(times),
        )


def by_split(pairs: Sequence[tuple[Split, Sequence[float]]], duration: float) -> dict[str, Predictability]:
    """Return the summary of each split from the predictable times of its shards, in order."""
    times: dict[str, list[float]] = {}
    for split, shard_times in pairs:
        if shard_times:
            times.setdefault(split, []).extend(shard_times)
    return {split: Predictability.of(split_times, duration) for split, split_times in times.items()}


class ErrorOverTime(_Record):
    """The error of one field due to the grid or to the steps in time, over a sample of trajectories.

    All errors are relative to the norm of the field in the frame, see `simsurrogate.relative_l2`. `last`
    belongs to the last frame, and `largest` to the frame with the largest error.
    """

    last_median: Annotated[float, Field(ge=0)]
    last_worst: Annotated[float, Field(ge=0)]
    largest_median: Annotated[float, Field(ge=0)]
    largest_worst: Annotated[float, Field(ge=0)]

    @classmethod
    def of(cls, errors: np.ndarray) -> ErrorOverTime:
        """Return the summary of the errors (B, T) of trajectories; NaN in frames that do not count."""
        is_counted = np.isfinite(errors)
        last_frames = errors.shape[1] - 1 - np.argmax(is_counted[:, ::-1], axis=1)
        last = errors[np.arange(len(errors)), last_frames]
        largest = np.nanmax(errors, axis=1)
        return cls(
            last_median=_rounded(np.median(last)),
            last_worst=_rounded(np.max(last)),
            largest_median=_rounded(np.median(largest)),
            largest_worst=_rounded(np.max(largest)),
        )


class FieldError(_Record):
    """The stated error of one field: in space, in time, and the sum of both in each frame.

    `space` or `time` is None if this error is not stated, see `SelfStatedError`. `median` and `worst` are the
    sums over the sample in each frame (T,), and None in frames beyond the predictable time of all
    trajectories.
    """

    space: ErrorOverTime | None
    time: ErrorOverTime | None
    median: list[float | None]
    worst: list[float | None]


class SelfStatedError(_Record):
    """The discretisation error of a data set, from a sample of trajectories that are solved more accurately.

    Attributes:
        splits: the errors of each field, by split and name of the field.
        trajectories: the number of trajectories of the sample of each split.
        space: the reference of the error in space, or the reason why this error is not stated.
        time: the reference of the error in time, or the reason why this error is not stated.
        frames: the frames that count: `all`, or `predictable` for those up to the predictable time.
        core_seconds: the cost of the sample, s.
        relative_cost: the cost of the sample over that of the generation.
    """

    splits: dict[str, dict[str, FieldError]]
    trajectories: dict[str, int]
    space: str
    time: str
    frames: Literal["all", "predictable"]
    core_seconds: Annotated[float, Field(ge=0)]
    relative_cost: Annotated[float, Field(ge=0)]


def _rounded(error: float | np.floating) -> float:
    return float(f"{error:.3g}")
