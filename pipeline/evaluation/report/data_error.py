"""The error of the data themselves, which no surrogate of these data can be shown to undercut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.data.manifest import Manifest, read_document
from pipeline.evaluation.schema import DataError
from pipeline.evaluation.words import percent

if TYPE_CHECKING:
    from pipeline.data.dataset import Dataset
    from pipeline.evaluation.schema import Metrics

_ESTIMATED = "by the estimate of the solver before the generation"
#: The splits that are drawn like a split whose error is known.
_ALIKE = {"train": ("train", "valid", "test", "calibration"), "test_extrapolation": ("test_extrapolation",)}
_STATED = "by a sample of trajectories that were solved again with a finer grid and a smaller tolerance"


def data_errors(dataset: Dataset) -> dict[str, dict[str, DataError]]:
    """Return the error of the data by split and field; adopted data and quantities of interest have none.

    The numbers are those that the validation states. Without them, the numbers are the solver's estimate in
    the manifest: one number for the last frame of all fields.
    """
    names = {field.name for field in dataset.spec.fields}
    stated = dataset.self_stated_error
    result: dict[str, dict[str, DataError]] = {}
    if stated is not None:
        for sampled, fields in stated.splits.items():
            errors = {
                field: DataError(median=list(error.median), worst=list(error.worst), source=_STATED)
                for field, error in fields.items()
                if field in names and any(value is not None for value in error.median[1:])
            }
            result |= dict.fromkeys(_ALIKE[sampled], errors)
        return result
    if dataset.spec.shape == (1,):
        return {}
    expected = read_document(dataset.folder / "manifest.json", Manifest).expected_errors
    for estimated, alike in _ALIKE.items():
        if estimated in expected:
            total = expected[estimated].grid + expected[estimated].time
            series = [None] * (len(dataset.times) - 1) + [total]
            error = DataError(median=series, worst=series, source=_ESTIMATED)
            result |= dict.fromkeys(alike, dict.fromkeys(sorted(names), error))
    return result


def error_text(error: DataError) -> str:
    """Return the errors at the last known frame in words."""
    median, worst = error.median[error.last_frame], error.worst[error.last_frame]
    return percent(median) if worst == median else f"{percent(median)} (median; worst {percent(worst)})"


def fields_below_data_error(
    metrics: Metrics, split: str, errors: Mapping[str, Mapping[str, DataError]]
) -> list[tuple[str, float, float]]:
    """Return the fields whose median error in the rollout is below the median error of the data.

    Each entry holds the field, the error of the surrogate and the error of the data, at the last frame whose
    error is known.
    """
    rollout = metrics.splits[split].errors["surrogate"]["rollout"]["relative_l2"]
    entries = []
    for field, error in errors.get(split, {}).items():
        frame = error.last_frame
        # The first frame is an input and has no error of the surrogate.
        own_error = rollout[field].median[frame - 1] if field in rollout and frame > 0 else None
        data_error = error.median[frame]
        if own_error is not None and data_error is not None and own_error < data_error:
            entries.append((field, own_error, data_error))
    return entries
