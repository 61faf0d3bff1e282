"""A damaged, missing or foreign model is refused with its name, and runs no code."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import surrogates
from surrogates import store
from tests.support import problems


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    problem = problems.problem((12,), ("periodic",))
    options = {"width": 4, "modes": 3, "layers": 1}
    store.save(tmp_path, store.build("fno", options, problem, "float32"), "fno", options, {"dataset": "abc"})
    assert store.is_whole(tmp_path)
    return tmp_path


def edit(**changes: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / store.DESCRIPTION
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return apply


def flip_last_byte(folder: Path) -> None:
    path = folder / store.WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def cut(folder: Path) -> None:
    path = folder / store.WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / store.DESCRIPTION).unlink(), "no trained model.*run the train stage"),
        (lambda folder: (folder / store.WEIGHTS).unlink(), "model.safetensors cannot be loaded"),
        (lambda folder: (folder / store.DESCRIPTION).write_text("{"), "not readable JSON"),
        (lambda folder: (folder / store.DESCRIPTION).write_text("[1]"), "format None"),
        (lambda folder: (folder / store.DESCRIPTION).write_bytes(b"\xff\xfe\x00"), "not readable JSON"),
        (flip_last_byte, "checksum"),
        (cut, "checksum"),
        (edit(format="someone's model 3"), "format .*expected 'simsurrogate model 2'"),
        (edit(surrogate="os.system"), "'os.system' is not one of .*fno, .*unet"),
        (edit(surrogate="stepper"), "'stepper' is not one of"),
        (edit(options={"width": 4}), "cannot be loaded"),
        (edit(options={"width": 5, "modes": 3, "layers": 1}), "cannot be loaded"),
        (edit(options={"width": 4, "modes": 3, "layers": 1, "_target_": "os.system"}), "_target_"),
        (edit(problem={}), "cannot be loaded"),
        (edit(precision="int8"), "cannot be loaded"),
    ],
)
def test_is_refused(folder: Path, damage: Callable[[Path], object], said: str) -> None:
    damage(folder)
    with pytest.raises(ValueError, match=said):
        surrogates.load(folder)


def test_a_folder_with_half_a_model_is_not_whole(folder: Path) -> None:
    flip_last_byte(folder)
    assert not store.is_whole(folder)
    (folder / store.WEIGHTS).unlink()
    assert not store.is_whole(folder)
    assert not store.is_whole(folder / "nowhere")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_full_disk_leaves_no_partial_file(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", disk], check=True)
    try:
        options = {"width": 16, "modes": 5, "layers": 3}
        model = store.build("fno", options, problems.problem((12,), ("periodic",)), "float32")
        with pytest.raises(OSError, match=r"bytes of .*/model\.safetensors: No space.*make room"):
            store.save(disk, model, "fno", options, {})
        assert not list(disk.iterdir())
    finally:
        subprocess.run(["umount", disk], check=True)
