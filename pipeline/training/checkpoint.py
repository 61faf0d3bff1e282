"""Checkpoints of a training run: one safetensors file each, which appears under its name only when whole.

The header of the file holds the metadata and a checksum over the metadata and every tensor. Nothing that is
read from a checkpoint is executed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import safetensors
import safetensors.torch
import torch
from pydantic import Field
from safetensors import SafetensorError
from typing_extensions import TypedDict  # pydantic reads it

from simsurrogate.documents import parse_json
from simsurrogate.errors import UserError
from simsurrogate.files import open_regular, remove_partials, write_whole
from simsurrogate.memory import require_memory

_FORMAT = "simsurrogate checkpoint 2"
#: The key of the metadata in files of this format.
_METADATA = "facts"
#: A regular expression of the name of a checkpoint file.
FILE_NAME = r"step-(\d{9,})\.safetensors"


#: The bytes that hold the size of the header of a safetensors file; the header is padded to a multiple.
_SIZE_BYTES = 8
#: The largest header. An array needs about 150 bytes in it, and its surrogate has at most 5000 arrays.
_MAX_HEADER_BYTES = 2**24


class _Description(TypedDict):
    """The description in the header of a checkpoint."""

    format: str
    step: Annotated[int, Field(ge=0)]
    configuration: dict[str, object]
    facts: dict[str, object]


@dataclass(frozen=True)
class Checkpoint:
    """The complete state of a training run after a step.

    Attributes:
        step: optimiser steps done.
        configuration: options that determine the result; a run with other options cannot continue from here.
        metadata: plain data of the training state.
        tensors: weights and optimiser state, by name.
    """

    step: int
    configuration: Mapping[str, object]
    metadata: Mapping[str, object]
    tensors: Mapping[str, torch.Tensor]


def save(folder: Path, checkpoint: Checkpoint, num_kept: int) -> Path:
    """Write a checkpoint into an existing folder and remove all but the newest `num_kept`.

    Checkpoints of later steps are removed too: the run resumed before them because they are damaged.

    Raises:
        StorageError: the disk is full or cannot be written; the earlier checkpoints are untouched.
    """
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in sorted(checkpoint.tensors.items())
    }
    description = json.dumps(
        {
            "format": _FORMAT,
            "step": checkpoint.step,
            "configuration": checkpoint.configuration,
            _METADATA: checkpoint.metadata,
        },
        sort_keys=True,
    )
    header = {"description": description, "sha256": _checksum(description, tensors)}
    remove_partials(folder)
    path = folder / f"step-{checkpoint.step:09d}.safetensors"
    advice = "run the same command again: training continues from the last checkpoint"
    write_whole(path, _with_sorted_metadata(safetensors.torch.save(tensors, header)), advice)
    checkpoint_paths = paths(folder)
    end = checkpoint_paths.index(path) + 1
    for old_path in [*checkpoint_paths[: max(0, end - num_kept)], *checkpoint_paths[end:]]:
        old_path.unlink()
    return path


def load(path: Path) -> Checkpoint:
    """Return the checkpoint in a file.

    Raises:
        UserError: the file is truncated, modified, or not a checkpoint of this project.
    """
    try:
        _check_size(path)
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            # The tensors are copied, because a memory map ends with the file and fails on a truncated file.
            tensors = {name: file.get_tensor(name).clone() for name in sorted(file.keys())}
        if header["sha256"] != _checksum(header["description"], tensors):
            raise UserError("its checksum does not match its content")
        description = parse_json(header["description"], _Description, "its metadata", "")
        if description["format"] != _FORMAT:
            raise UserError(f"its format is {description['format']!r}, not {_FORMAT!r}")
        if description["step"] != step_of(path):
            raise UserError(f"it holds step {description['step']}, and its name says {step_of(path)}")
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and tensor.isnan().any():
                raise UserError(f"its tensor {name} holds NaN")
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"the checkpoint {path} is damaged: {error}") from error
    return Checkpoint(description["step"], description["configuration"], description["facts"], tensors)


def _check_size(path: Path) -> None:
    """Check that a file has a short header, and fits into memory.

    Raises:
        UserError: the header or the file is too large.
    """
    with open_regular(path) as file:
        header_bytes = int.from_bytes(file.read(_SIZE_BYTES), "little")
        if header_bytes > _MAX_HEADER_BYTES:
            raise UserError(f"its header has {header_bytes} bytes, {_MAX_HEADER_BYTES} allowed")
        require_memory(os.fstat(file.fileno()).st_size, f"reading {path}", "overwrite=true to train again")


def newest_intact(folder: Path) -> Path | None:
    """Return the path of the newest intact checkpoint, or None in a folder without checkpoints.

    A warning names each newer checkpoint that is damaged.

    Raises:
        UserError: the folder holds checkpoints, and all are damaged.
    """
    checkpoint_paths = paths(folder)
    for path in reversed(checkpoint_paths):
        try:
            load(path)
        except ValueError as error:
            warnings.warn(f"{error}; training falls back to the checkpoint before it", stacklevel=2)
        else:
            return path
    if checkpoint_paths:
        raise UserError(
            f"all {len(checkpoint_paths)} checkpoints in {folder} are damaged. Training needs one intact "
            "checkpoint. Restore one from a backup, or train from the beginning with overwrite=true"
        )
    return None


def paths(folder: Path) -> list[Path]:
    """Return the checkpoint files in a folder, oldest first; files with other names are the user's."""
    checkpoint_paths = [
        path
        for path in folder.glob("step-*.safetensors")
        if re.fullmatch(FILE_NAME, path.name) and path.is_file()
    ]
    return sorted(checkpoint_paths, key=step_of)


def step_of(path: Path) -> int:
    """Return the step in the name of a checkpoint file."""
    return int(path.stem.removeprefix("step-"))


def _with_sorted_metadata(content: bytes) -> bytes:
    """Return a safetensors file with its metadata in the order of their keys.

    The library writes the keys in random order, and equal states shall have equal bytes.
    """
    size = int.from_bytes(content[:_SIZE_BYTES], "little")
    header = json.loads(content[_SIZE_BYTES : _SIZE_BYTES + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    padded = text.ljust(-(-len(text) // _SIZE_BYTES) * _SIZE_BYTES)
    return b"".join([len(padded).to_bytes(_SIZE_BYTES, "little"), padded, content[_SIZE_BYTES + size :]])


def _checksum(description: str, tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of the description and of each tensor's name, type, shape and bytes."""
    checksum = hashlib.sha256(description.encode())
    for name, tensor in tensors.items():
        checksum.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        checksum.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return checksum.hexdigest()
