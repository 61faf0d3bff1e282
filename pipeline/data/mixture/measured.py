"""The data sets that hold measurements."""

from __future__ import annotations

from pipeline.data.dataset import Dataset


def is_measured(dataset: Dataset) -> bool:
    """Return whether the origin of all trajectories of a data set is a measurement."""
    parts = dataset.family.data[dataset.identity].parts
    return bool(parts) and all(part.origin.kind == "measurement" for part in parts)
