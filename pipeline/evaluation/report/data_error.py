"""The error of the data themselves, which no surrogate of these data can be shown to undercut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.data.manifest import Manifest, read_document
from pipeline.evaluation.schema import DataError
from pipeline.evaluation.words import percent

if TYPE_CHECKING:
    from pipeline.data.accuracy import FieldError, SelfStatedError
    from pipeline.data.dataset import Dataset
    from pipeline.evaluation.schema import Metrics
    from simsurrogate.spec import Spec

_ESTIMATED = "by the estimate of the solver before the generation"
#: The splits that are drawn like a split whose error is known.
_ALIKE = {"train": ("train", "valid", "test", "calibration"), "test_extrapolation": ("test_extrapolation",)}


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
                field: DataError(
                    median=list(error.median),
                    worst=list(error.worst),
                    source=_stated_source(stated, error, dataset.spec),
                )
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


def error_text(error: DataError, times: Sequence[float]) -> str:
    """Return the errors at the last frame whose error is known, in words; `times` (T,) are in s."""
    median, worst = error.median[error.last_frame], error.worst[error.last_frame]
    both = percent(median) if worst == median else f"{percent(median)} (median; worst {percent(worst)})"
    return f"{both} at t = {times[error.last_frame]:.4g} s"


def _stated_source(stated: SelfStatedError, error: FieldError, spec: Spec) -> str:
    """Return the references of the error in space and in time, and the part that is missing, in words."""
    parts, missing = [], []
    for name, part, words in (("space", error.space, stated.space), ("time", error.time, stated.time)):
        if part is not None:
            parts.append(f"in {name}: {words}")
        elif name == "time" or not spec.has_particles:
            missing.append(f"; the error in {name} is not included, because {words}, so the sum is too small")
    return f"from trajectories that were solved again ({'; '.join(parts)}){''.join(missing)}"


def below_data_error_sentences(
    metrics: Metrics, split: str, errors: Mapping[str, Mapping[str, DataError]]
) -> list[str]:
    """Return a sentence for each field of `fields_below_data_error`."""
    sentences = []
    for field, own_error, data_error in fields_below_data_error(metrics, split, errors):
        time = metrics.time[errors[split][field].last_frame]
        sentences.append(
            f"The error of {field.replace('_', ' ')} at t = {time:.4g} s, {percent(own_error)}, is below the "
            f"error of the data ({percent(data_error)}): these data cannot show a smaller error."
        )
    return sentences


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
