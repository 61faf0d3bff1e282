"""Surrogates on disk: `model.safetensors` holds the weights, `model.json` all else.

Nothing from these files is executed: the class is looked up by its name among the surrogates that are
installed, and weights are plain arrays.

An ensemble's folder has a `model.json` that lists its members, each a folder `member-NUMBER` of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from simsurrogate.errors import StorageError, UserError
from surrogates.contract import Problem, Surrogate, surrogate_class
from surrogates.deep_ensemble import Ensemble

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"
_FORMAT = "simsurrogate model 2"
_PRECISIONS = {"float32": torch.float32, "float64": torch.float64}


def build(
    name: str, options: Mapping[str, Any], problem: Problem, precision: str, path: Path | None = None
) -> Surrogate:
    """A surrogate with fresh weights, in `float32` or `float64`.

    Its constants are computed in float64 and then rounded. `path` is the user's file that holds the class,
    for a surrogate that is neither in this package nor in an installed one.

    Raises:
        UserError: there is no such surrogate, or its options do not fit the problem.
    """
    constructor: Callable[..., Surrogate] = surrogate_class(name, path)
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return constructor(problem, **options).to(_PRECISIONS[precision])
    finally:
        torch.set_default_dtype(usual)


def save(
    folder: Path,
    surrogate: Surrogate,
    name: str,
    options: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> None:
    """Writes `model.safetensors` and then `model.json`, each whole or not at all.

    `facts` is plain data that is kept beside: where the weights come from.

    Raises:
        OSError: the disk is full or cannot be written; the message names the file.
    """
    weights = safetensors.torch.save(
        {key: value.contiguous() for key, value in surrogate.state_dict().items()}
    )
    description = {
        "format": _FORMAT,
        "surrogate": name,
        "options": dict(options),
        "problem": surrogate.problem.to_json(),
        "precision": str(next(surrogate.parameters()).dtype).removeprefix("torch."),
        "num_parameters": sum(weight.numel() for weight in surrogate.parameters()),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        **facts,
    }
    _write_whole(folder / WEIGHTS, weights)
    _write_whole(folder / DESCRIPTION, json.dumps(description, indent=2).encode())


def save_ensemble(folder: Path, count: int, facts: Mapping[str, Any]) -> None:
    """Writes the `model.json` of an ensemble whose `count` members are saved in `member_folder`.

    `facts` is plain data that is kept beside.

    Raises:
        OSError: the disk is full or cannot be written; the message names the file.
    """
    members = [description(member_folder(folder, number)) for number in range(count)]
    common = {key: members[0][key] for key in ("format", "surrogate", "options", "problem", "precision")}
    found = {
        **common,
        "num_parameters": sum(member["num_parameters"] for member in members),
        "members_sha256": [member["weights_sha256"] for member in members],
        **facts,
    }
    _write_whole(folder / DESCRIPTION, json.dumps(found, indent=2).encode())


def member_folder(folder: Path, number: int) -> Path:
    """Where an ensemble's member is saved, counted from 0."""
    return folder / f"member-{number}"


def num_members(folder: Path) -> int:
    """The members of the ensemble in a folder; 0 where its `model.json` is that of one model."""
    return len(description(folder).get("members_sha256", ()))


def member_folders(folder: Path) -> list[Path]:
    """Those that are there."""
    return sorted(folder.glob("member-*"))


def load(folder: str | Path, device: str | torch.device = "cpu", path: Path | None = None) -> Surrogate:
    """The trained surrogate in a folder, ready to `predict`; an `Ensemble` where that is what was trained.

    `path` is the user's file that holds the class; a model folder never names a file to import.

    Raises:
        UserError: the folder holds no whole model, or one that this version cannot read.
    """
    folder = Path(folder)
    found = description(folder)
    surrogate_class(str(found.get("surrogate")), path)
    if "members_sha256" in found:
        return Ensemble([load(member, device, path) for member in _members(folder, found)]).eval()
    try:
        weights = (folder / WEIGHTS).read_bytes()
        if hashlib.sha256(weights).hexdigest() != found["weights_sha256"]:
            raise UserError("its checksum is not the one in model.json")
        problem = Problem.from_json(found["problem"])
        surrogate = build(found["surrogate"], found["options"], problem, found["precision"], path)
        surrogate.load_state_dict(safetensors.torch.load(weights))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{folder / WEIGHTS} cannot be loaded ({error}); train the model again") from error
    return surrogate.to(device).eval().requires_grad_(False)


def is_whole(folder: Path) -> bool:
    """Whether a folder holds a model whose weights are those that its description names."""
    try:
        found = description(folder)
        if "members_sha256" in found:
            return all(is_whole(member) for member in _members(folder, found))
        expected = found["weights_sha256"]
        return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest() == str(expected)
    except (OSError, KeyError, ValueError):
        return False


def description(folder: Path) -> dict[str, Any]:
    """The content of `model.json`.

    Raises:
        UserError: it is missing, unreadable, or of another format.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise UserError(
            f"{folder} holds no trained model ({DESCRIPTION} is missing): run the train stage first"
        )
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path} is not readable JSON ({error}); train the model again") from None
    kind = found.get("format") if isinstance(found, dict) else None
    if kind != _FORMAT:
        raise UserError(
            f"{path} has format {kind!r}; expected {_FORMAT!r}: name a folder that train has written"
        )
    return dict(found)


def _members(folder: Path, found: Mapping[str, Any]) -> list[Path]:
    """The folders of an ensemble's members, which are those that its description `found` lists.

    Raises:
        UserError: a member is missing, or another one.
    """
    members = []
    for number, expected in enumerate(found["members_sha256"]):
        member = member_folder(folder, number)
        if description(member).get("weights_sha256") != expected:
            raise UserError(f"{member} is not the member that {folder} lists: train the ensemble again")
        members.append(member)
    return members


def _write_whole(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StorageError(
            f"cannot write the {len(content)} bytes of {path}: {error.strerror}; make room and run the same "
            "command again: training goes on from its last checkpoint"
        ) from error
    partial.replace(path)
