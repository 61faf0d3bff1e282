"""The error of the data themselves, which no surrogate of these data can be known to undercut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.data.manifest import Manifest, read_document
from pipeline.evaluation.words import percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.data.dataset import Dataset
    from pipeline.evaluation.schema import Metrics


@dataclass(frozen=True)
class DataError:
    """The relative error of a field of the data at the last frame: the median and the largest error."""

    median: float
    worst: float

    @property
    def text(self) -> str:
        """The errors in words."""
        if self.worst == self.median:
            return percent(self.median)
        return f"{percent(self.median)} (median; worst {percent(self.worst)})"


def data_errors(dataset: Dataset) -> dict[str, dict[str, DataError]]:
    """Return the error of the data by split and field, from the solver's estimate in the manifest.

    The estimate is one number for all fields, the sum of the errors of the grid and of the steps in time.
    Adopted data and quantities of interest have none.
    """
    expected = read_document(dataset.folder / "manifest.json", Manifest).expected_errors
    if dataset.spec.shape == (1,):
        return {}
    splits = {"train": ("valid", "test"), "test_extrapolation": ("test_extrapolation",)}
    result: dict[str, dict[str, DataError]] = {}
    for estimated_split, own_splits in splits.items():
        if estimated_split in expected:
            total = expected[estimated_split].grid + expected[estimated_split].time
            errors = {field.name: DataError(total, total) for field in dataset.spec.fields}
            result |= dict.fromkeys(own_splits, errors)
    return result


def fields_below_data_error(
    metrics: Metrics, split: str, errors: Mapping[str, Mapping[str, DataError]]
) -> list[tuple[str, float, DataError]]:
    """Return the fields whose median error at the end of the rollout is below the error of the data.

    Each entry holds the field, the error of the surrogate and the error of the data.
    """
    rollout = metrics.splits[split].errors["surrogate"]["rollout"]["relative_l2"]
    entries = []
    for field, error in errors.get(split, {}).items():
        own_error = rollout[field].median[-1] if field in rollout else None
        if own_error is not None and own_error < error.median:
            entries.append((field, own_error, error))
    return entries
