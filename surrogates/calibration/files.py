"""Calibrations on disk: `calibration.safetensors` holds the arrays, `calibration.json` everything else.

Nothing from these files is executed. Both files belong to one `model.json`.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Final, Literal

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict

from simsurrogate import documents
from simsurrogate.errors import UserError
from simsurrogate.files import digest, open_regular, write_whole
from simsurrogate.spec import Spec
from surrogates.calibration.calibration import Calibration
from surrogates.calibration.error_model import ErrorModel
from surrogates.calibration.guard import Guard
from surrogates.calibration.intervals import LEVELS, Intervals
from surrogates.calibration.quantities import frame_quantities

ARRAYS: Final = "calibration.safetensors"
DOCUMENT: Final = "calibration.json"
_REMEDY = "Type python -m pipeline.evaluate to calibrate the model again"
#: The largest file of arrays that is read, bytes.
_MAX_BYTES = 2**31
_PARTS: dict[str, type[Any]] = {
    "intervals": Intervals,
    "quantities": Intervals,
    "guard": Guard,
    "error_model": ErrorModel,
}


class _Document(BaseModel):
    """The content of `calibration.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["simsurrogate calibration 1"] = "simsurrogate calibration 1"
    model: str
    dataset: str
    fitted_on: dict[str, int]
    threshold: float | None
    alarm_rate: float | None
    arrays_sha256: str


def save(folder: Path, calibration: Calibration, model: str) -> None:
    """Write the calibration of the model in a folder, each file whole or not at all, the document last.

    Args:
        folder: the model folder.
        calibration: the calibration.
        model: the digest of the model's `model.json`.

    Raises:
        StorageError: a file cannot be written.
    """
    arrays = {
        f"{part}.{name}": tensor.clone(memory_format=torch.contiguous_format)
        for part in _PARTS
        if (values := getattr(calibration, part)) is not None
        for name, tensor in vars(values).items()
        if isinstance(tensor, torch.Tensor)
    }
    content = safetensors.torch.save(arrays)
    guard = calibration.guard
    document = _Document(
        model=model,
        dataset=calibration.dataset,
        fitted_on=dict(calibration.fitted_on),
        threshold=None if guard is None else guard.threshold,
        alarm_rate=None if guard is None else guard.alarm_rate,
        arrays_sha256=hashlib.sha256(content).hexdigest(),
    )
    (folder / DOCUMENT).unlink(missing_ok=True)
    write_whole(folder / ARRAYS, content)
    values = document.model_dump(mode="json")
    write_whole(folder / DOCUMENT, json.dumps({**values, "sha256": digest(values)}, indent=2) + "\n")


def is_current(folder: Path, model: str, dataset: str) -> bool:
    """Return whether a folder holds the calibration of a model by a data set, each named by its digest."""
    try:
        document = _read_document(folder)
    except UserError:
        return False
    return (document.model, document.dataset) == (model, dataset) and (folder / ARRAYS).is_file()


def load(folder: Path, model: str, spec: Spec) -> Calibration:
    """Return the calibration in a model folder.

    Args:
        folder: the model folder.
        model: the digest of the model's `model.json`.
        spec: the spec of the model, perhaps on another grid than the calibration.

    Raises:
        UserError: there is no calibration, or it was changed, belongs to another model, or has other sites.
    """
    if not (folder / DOCUMENT).exists():
        raise UserError(
            f"{folder} holds no calibration, because {DOCUMENT} is missing. The evaluate stage writes it "
            "from the split calibration of a data set. Type python -m pipeline.evaluate."
        )
    document = _read_document(folder)
    if document.model != model:
        raise UserError(
            f"{folder / DOCUMENT} belongs to another model than model.json of this folder. A calibration is "
            f"valid for the weights that it was measured with. {_REMEDY}."
        )
    try:
        with open_regular(folder / ARRAYS) as file:
            if (size := os.fstat(file.fileno()).st_size) > _MAX_BYTES:
                raise UserError(f"it has {size} bytes, and at most {_MAX_BYTES} are read")
            content = file.read()
        if hashlib.sha256(content).hexdigest() != document.arrays_sha256:
            raise UserError(f"its checksum differs from the checksum in {DOCUMENT}")
        calibration = _from_arrays(safetensors.torch.load(content), document)
        _check_shapes(calibration, spec)
    except (OSError, ValueError, TypeError, safetensors.SafetensorError) as error:
        raise UserError(f"{folder / ARRAYS} cannot be used: {error}. {_REMEDY}.") from None
    return calibration


def load_or_reason(folder: Path, model: str, spec: Spec) -> Calibration | str:
    """Return the calibration in a model folder, or the sentence that says why there is none, see `load`."""
    try:
        return load(folder, model, spec)
    except UserError as error:
        return str(error)


def _read_document(folder: Path) -> _Document:
    path = folder / DOCUMENT
    text = documents.read_text(path, f"{_REMEDY}.")
    content = documents.parse_json(text, dict[str, object], str(path), f"{_REMEDY}.")
    if content.pop("sha256", None) != digest(content):
        raise UserError(f"{path} was changed: its digest differs from its content. {_REMEDY}.")
    return documents.parse_json(json.dumps(content), _Document, str(path), f"{_REMEDY}.")


def _from_arrays(arrays: dict[str, torch.Tensor], document: _Document) -> Calibration:
    parts: dict[str, Any] = {}
    for part, kind in _PARTS.items():
        values: dict[str, Any] = {
            name.partition(".")[2]: tensor
            for name, tensor in arrays.items()
            if name.partition(".")[0] == part
        }
        if values and kind is Guard:
            values |= {"threshold": document.threshold, "alarm_rate": document.alarm_rate}
        parts[part] = kind(**values) if values else None
    return Calibration(document.dataset, **parts, fitted_on=document.fitted_on)


def _check_shapes(calibration: Calibration, spec: Spec) -> None:
    """Raise `UserError` if arrays do not fit the problem or each other."""
    for intervals, sites in (
        (calibration.intervals, (len(spec.channels), *spec.shape)),
        (calibration.quantities, (len(frame_quantities(spec)),)),
    ):
        if intervals is None:
            continue
        num_frames = len(intervals.lead_times)
        expected = {
            "lead_times": (num_frames,),
            "scale": (num_frames, *sites),
            "spread_factor": (num_frames, sites[0]),
            "marginal": (len(LEVELS), num_frames, sites[0]),
            "joint": (intervals.num_trajectories,),
        }
        for name, shape in expected.items():
            if (found := tuple(getattr(intervals, name).shape)) != shape:
                raise UserError(f"its array {name} has the shape {found}, and this model needs {shape}")
    if (guard := calibration.guard) is not None:
        num_features, num_components = guard.components.shape
        shapes = [tuple(array.shape) for array in (guard.mean, guard.std, guard.references)]
        if shapes != [(num_features,), (num_features,), (len(guard.references), num_components)]:
            raise UserError(f"the arrays of its guard have shapes that do not fit: {shapes}")
    if (model := calibration.error_model) is not None and model.centre.shape != model.weights.shape:
        raise UserError("the arrays of its error model have shapes that do not fit")
