"""The accuracy of the trajectories of a data set: expected errors and predictable times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

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
