"""The base class of the sections of metrics.json."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A section with fixed keys. `None` stands for a number that is not finite."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def finite_or_none(value: float) -> float | None:
    """Return the number, or None if the number is not finite."""
    return float(value) if np.isfinite(value) else None
