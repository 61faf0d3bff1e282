"""The data sets that hold measurements."""

from __future__ import annotations

from pipeline.data.dataset import Dataset
from pipeline.data.recorded_configuration import is_declared_measured


def is_measured(dataset: Dataset) -> bool:
    """Return whether a data set holds measurements."""
    return is_declared_measured(dataset.configuration)
