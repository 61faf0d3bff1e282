"""Checkpoints that are whole or absent: one safetensors file each, published by a rename.

The file's own header holds the metadata, with a checksum over it and every tensor. Nothing that is
read from a checkpoint is executed.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError

from simsurrogate.errors import UserError
from simsurrogate.files import write_whole

_FORMAT = "simsurrogate checkpoint 2"


@dataclass(frozen=True)
class Checkpoint:
    """All that a training run needs to go on exactly.

    `tensors` holds weights, optimiser state and running sums by name; `facts` are plain data;
    `configuration` is what determines the result: a run of another one must not go on from here.
    """

    step: int
    configuration: Mapping[str, Any]
    facts: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor]


def save(folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Writes a checkpoint and removes all but the newest `keep`. The folder must exist.

    Later ones are removed too: a run that saves an earlier step has found them damaged.

    Raises:
        OSError: the disk is full or cannot be written; the checkpoints before are untouched.
    """
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in sorted(checkpoint.tensors.items())
    }
    described = json.dumps(
        {
            "format": _FORMAT,
            "step": checkpoint.step,
            "configuration": checkpoint.configuration,
            "facts": checkpoint.facts,
        },
        sort_keys=True,
    )
    metadata = {"description": described, "sha256": _checksum(described, tensors)}
    for left_over in folder.glob(".step-*.partial"):
        left_over.unlink()
    path = folder / f"step-{checkpoint.step:09d}.safetensors"
    then = "run the same command again: it goes on from the last checkpoint"
    write_whole(path, safetensors.torch.save(tensors, metadata), then)
    found = paths(folder)
    newest = found.index(path) + 1
    for other in [*found[: max(0, newest - keep)], *found[newest:]]:
        other.unlink()
    return path


def load(path: Path) -> Checkpoint:
    """Reads a checkpoint.

    Raises:
        UserError: the file is cut short, changed, or none of this project's.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # A copy: the file's memory map would end with the file, and die with a file that is cut.
            tensors = {name: file.get_tensor(name).clone() for name in sorted(file.keys())}
        if metadata["sha256"] != _checksum(metadata["description"], tensors):
            raise UserError("its checksum does not match its content")
        described = json.loads(metadata["description"])
        if described["format"] != _FORMAT:
            raise UserError(f"its format is {described['format']!r}, not {_FORMAT!r}")
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"the checkpoint {path} is damaged: {error}") from error
    return Checkpoint(described["step"], described["configuration"], described["facts"], tensors)


def newest_good(folder: Path) -> Path | None:
    """The newest checkpoint that can be read, or None where there is none at all.

    Warns of each newer one that is damaged, by name.

    Raises:
        UserError: there are checkpoints, and all are damaged.
    """
    found = paths(folder)
    for path in reversed(found):
        try:
            load(path)
        except ValueError as error:
            warnings.warn(f"{error}; going back to the one before", stacklevel=2)
        else:
            return path
    if found:
        raise UserError(
            f"all {len(found)} checkpoints in {folder} are damaged; restore one, or train from the beginning "
            "with start_anew=true"
        )
    return None


def paths(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    return sorted(folder.glob("step-*.safetensors"))


def step_of(path: Path) -> int:
    """The step that a checkpoint's name tells."""
    return int(path.stem.removeprefix("step-"))


def _checksum(described: str, tensors: Mapping[str, torch.Tensor]) -> str:
    """Over the metadata, and each tensor's name, type, shape and bytes."""
    checksum = hashlib.sha256(described.encode())
    for name, tensor in tensors.items():
        checksum.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        checksum.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return checksum.hexdigest()
