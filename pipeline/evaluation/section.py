"""The base class of the sections of metrics.json, and statistics over trajectories as sections."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A section with fixed keys. `None` stands for a number that is not finite."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def finite_or_none(value: float) -> float | None:
    """Return the number, or None if the number is not finite."""
    return float(value) if np.isfinite(value) else None


class Summary(Section):
    """Statistics of one number over the trajectories of a split."""

    median: float | None
    mean: float | None
    q10: float | None
    q90: float | None
    max: float | None

    @classmethod
    def of(cls, statistics: Mapping[str, np.ndarray]) -> Summary:
        """Return the statistics that `pipeline.evaluation.metrics.summary` computed of one number."""
        return cls(**{name: finite_or_none(float(value)) for name, value in statistics.items()})


class SeriesSummary(Section):
    """Statistics over the trajectories of a split, at each time."""

    median: list[float | None]
    mean: list[float | None]
    q10: list[float | None]
    q90: list[float | None]
    max: list[float | None]

    @classmethod
    def of(cls, statistics: Mapping[str, np.ndarray]) -> SeriesSummary:
        """Return the statistics that `pipeline.evaluation.metrics.summary` computed of a series (T,)."""
        return cls(
            **{name: [finite_or_none(value) for value in values] for name, values in statistics.items()}
        )
