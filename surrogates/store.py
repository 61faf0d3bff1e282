"""Surrogates on disk: `model.safetensors` holds the weights, `model.json` everything else.

Nothing from these files is executed. The class is found by its name in this package or in an installed
package, and weights are plain arrays. A user's own file is executed only if the caller passes its path.

The folder of an ensemble has a `model.json` with the list of its members. Each member is a model in a
subfolder `member-INDEX`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from simsurrogate.errors import UserError
from simsurrogate.files import open_regular, sha256_of, write_whole
from simsurrogate.sources import source_hash
from surrogates.calibration import files as calibration_files
from surrogates.contract import Problem, Surrogate, surrogate_class
from surrogates.deep_ensemble import Ensemble
from surrogates.description import DESCRIPTION, description, recorded_problem, write
from surrogates.inference import arranged
from surrogates.other_grid import on_grid
from surrogates.weights import refuse_other_size

__all__ = [
    "DESCRIPTION",
    "WEIGHTS",
    "ChangedSourcesWarning",
    "build",
    "description",
    "has_changed_sources",
    "is_whole",
    "load",
    "member_folder",
    "member_folders",
    "num_members",
    "save",
    "save_ensemble",
]

WEIGHTS = "model.safetensors"
_PRECISIONS = {"float32": torch.float32, "float64": torch.float64}
#: An upper bound of the bytes of a tensor's name and shape in the file of the weights.
_HEADER_BYTES = 2**12
_FULL_DISK_REMEDY = "run the same command again: training continues from its last checkpoint"


class ChangedSourcesWarning(UserWarning):
    """A model that was trained with other sources of its surrogate."""


def build(
    name: str, options: Mapping[str, Any], problem: Problem, precision: str, path: Path | None = None
) -> Surrogate:
    """Return a surrogate with initial weights.

    The constants of the surrogate are computed in float64 and then rounded.

    Args:
        name: the name of the surrogate.
        options: the keyword arguments of its class.
        problem: the problem to learn.
        precision: the precision of the weights, `float32` or `float64`.
        path: the user's own file with the class; None for a class of this or an installed package.

    Raises:
        UserError: there is no such surrogate, or its options do not fit the problem.
    """
    constructor: Callable[..., Surrogate] = surrogate_class(name, path)
    problem = dataclasses.replace(problem, statistics=problem.statistics.rounded_to(precision))
    default_dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return constructor(problem, **options).to(_PRECISIONS[precision])
    finally:
        torch.set_default_dtype(default_dtype)


def save(
    folder: Path,
    surrogate: Surrogate,
    name: str,
    options: Mapping[str, Any],
    metadata: Mapping[str, Any],
) -> None:
    """Write `model.safetensors` and then `model.json`, each whole or not at all.

    Args:
        folder: the model folder.
        surrogate: the trained surrogate.
        name: the name of the surrogate.
        options: the keyword arguments of its class.
        metadata: the origin of the weights, as plain data for `model.json`.

    Raises:
        StorageError: a file cannot be written; the message names it.
    """
    state = surrogate.state_dict()
    weights = safetensors.torch.save({key: value.contiguous() for key, value in state.items()})
    content = {
        "surrogate": name,
        "sources": source_hash(type(surrogate)),
        "options": dict(options),
        "problem": surrogate.problem.to_json(),
        "precision": str(next(surrogate.parameters()).dtype).removeprefix("torch."),
        "num_parameters": sum(weight.numel() for weight in surrogate.parameters()),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        **metadata,
    }
    write_whole(folder / WEIGHTS, weights, advice=_FULL_DISK_REMEDY)
    write(folder, content, _FULL_DISK_REMEDY)


def save_ensemble(folder: Path, num_members: int, metadata: Mapping[str, Any]) -> None:
    """Write the `model.json` of an ensemble, after all members are saved.

    Args:
        folder: the model folder of the ensemble.
        num_members: the number of members.
        metadata: the origin of the ensemble, as plain data for `model.json`.

    Raises:
        StorageError: the file cannot be written.
    """
    members = [description(member_folder(folder, index)) for index in range(num_members)]
    common_content = {
        key: members[0][key] for key in ("surrogate", "sources", "options", "problem", "precision")
    }
    content = {
        **common_content,
        "num_parameters": sum(member["num_parameters"] for member in members),
        "members_sha256": [member["sha256"] for member in members],
        **metadata,
    }
    write(folder, content, _FULL_DISK_REMEDY)


def member_folder(folder: Path, index: int) -> Path:
    """Return the folder of a member of an ensemble; the first index is 0."""
    return folder / f"member-{index}"


def num_members(folder: Path) -> int:
    """Return the number of members of the ensemble in a folder, or 0 for a single model."""
    return len(description(folder).get("members_sha256", ()))


def member_folders(folder: Path) -> list[Path]:
    """Return the member folders that exist."""
    paths = [path for path in folder.glob("member-*") if re.fullmatch(r"member-\d+", path.name)]
    return sorted(path for path in paths if path.is_dir())


def load(
    folder: str | Path,
    device: str | torch.device = "cpu",
    *,
    path: str | Path | None = None,
    shape: Sequence[int] | None = None,
) -> Surrogate:
    """Return the trained surrogate in a folder, ready to `predict`; an `Ensemble` for a folder of members.

    Args:
        folder: the model folder, RUN/models/MODEL.
        device: the torch device on which the surrogate computes, `cpu` or `cuda`.
        path: the user's own file with the class of the surrogate. Its code is executed.
        shape: the number of cells along each axis, for predictions on another grid of the same box; None for
            the grid of the training data. The surrogate has to allow any grid (`Surrogate.any_grid`).

    A `ChangedSourcesWarning` says that the sources of the surrogate have changed after the training.

    Raises:
        UserError: the folder holds no complete model, or this version cannot read it. The class of the
            surrogate is in no installed package, and `path` is missing.
    """
    folder, path = Path(folder), None if path is None else Path(path)
    content = description(folder)
    if "members_sha256" in content:
        members = _listed_members(folder, content)
        ensemble = Ensemble([load(member, device, path=path, shape=shape) for member in members])
        return _calibrated(ensemble.eval(), folder, content)
    _check_class(folder, content["surrogate"], path)
    try:
        problem = recorded_problem(content)
        if shape is not None:
            problem = on_grid(problem, tuple(shape), surrogate_class(content["surrogate"], path))
        constructor: Callable[..., Surrogate] = surrogate_class(content["surrogate"], path)
        refuse_other_size(
            folder / WEIGHTS,
            problem.spec,
            lambda: constructor(problem, **content["options"]),
            _PRECISIONS[content["precision"]].itemsize,
        )
        surrogate = build(content["surrogate"], content["options"], problem, content["precision"], path)
        surrogate.load_state_dict(_weights(folder, content, surrogate))
    # The options of a model from elsewhere reach its constructor, which may fail in any way.
    except Exception as error:
        if shape is not None and isinstance(error, UserError):
            raise UserError(f"{folder} does not predict on shape={tuple(shape)}: {error}") from error
        raise UserError(
            f"{folder / WEIGHTS} cannot be loaded ({error}). Train the model again with overwrite=true."
        ) from error
    if has_changed_sources(content, type(surrogate)):
        warnings.warn(
            f"{folder} was trained with other sources of the surrogate {content['surrogate']}. Its weights "
            "belong to those sources, and its predictions may be wrong. Train the model again with "
            "overwrite=true, or load it with the version that wrote it.",
            ChangedSourcesWarning,
            stacklevel=2,
        )
    surrogate = arranged(surrogate.to(device)).eval().requires_grad_(False)
    return _calibrated(surrogate, folder, content)


def _calibrated(surrogate: Surrogate, folder: Path, content: Mapping[str, Any]) -> Surrogate:
    """Return the surrogate with the calibration in its model folder, or with the reason why it has none."""
    spec = surrogate.problem.spec
    if (trained_shape := recorded_problem(content).spec.shape) == spec.shape:
        surrogate.calibration = calibration_files.load_or_reason(folder, content["sha256"], spec)
    else:
        surrogate.calibration = (
            f"the calibration in {folder} belongs to the grid of the training, {trained_shape}, and this "
            f"grid has {spec.shape}. Leave out shape."
        )
    return surrogate


def has_changed_sources(content: Mapping[str, Any], cls: type[torch.nn.Module]) -> bool:
    """Return whether the model of a `model.json` was trained with other sources of its class."""
    return bool(content.get("sources") != source_hash(cls))


def _weights(folder: Path, content: Mapping[str, Any], surrogate: Surrogate) -> dict[str, torch.Tensor]:
    """Return the weights in a model folder, read only if the file has the size that the surrogate needs.

    Raises:
        UserError: the file has another size or checksum.
    """
    state = surrogate.state_dict()
    with open_regular(folder / WEIGHTS) as file:
        size = os.fstat(file.fileno()).st_size
        needed = sum(tensor.nbytes for tensor in state.values())
        header_bytes = _HEADER_BYTES * (1 + len(state))
        if size > needed + header_bytes:
            raise UserError(f"it has {size} bytes, and its surrogate has weights of {needed} bytes")
        weights = file.read()
    if int.from_bytes(weights[:8], "little") > header_bytes:
        raise UserError(f"its header is longer than {header_bytes} bytes, enough for {len(state)} arrays")
    if hashlib.sha256(weights).hexdigest() != content.get("weights_sha256"):
        raise UserError("its checksum differs from the checksum in model.json")
    return safetensors.torch.load(weights)


def is_whole(folder: Path) -> bool:
    """Return whether a folder holds a model with the weights that its `model.json` names."""
    try:
        content = description(folder)
        if "members_sha256" in content:
            return all(is_whole(member) for member in _listed_members(folder, content))
        return sha256_of(folder / WEIGHTS) == str(content["weights_sha256"])
    except (OSError, KeyError, ValueError):
        return False


def _check_class(folder: Path, name: str, path: Path | None) -> None:
    """Check that the class of a saved surrogate can be found.

    Raises:
        UserError: there is no such class. The message explains how to name the user's own file.
    """
    try:
        surrogate_class(name, path)
    except UserError as error:
        raise UserError(
            f"{folder} holds a model of the surrogate {name!r}, which was not found: {error}. "
            f'In Python, type surrogates.load("{folder}", path="FILE.py").'
        ) from error


def _listed_members(folder: Path, content: Mapping[str, Any]) -> list[Path]:
    """Return the folders of the members that the `model.json` of an ensemble lists.

    Raises:
        UserError: a member is missing, or is another model.
    """
    members = []
    for index, expected_sha256 in enumerate(content["members_sha256"]):
        member = member_folder(folder, index)
        content_of_member = description(member)
        if content_of_member["sha256"] != expected_sha256 or "members_sha256" in content_of_member:
            raise UserError(
                f"{member} differs from the member that {folder / DESCRIPTION} lists. Train the ensemble "
                "again with overwrite=true."
            )
        members.append(member)
    return members
