"""Checkpoints are whole or absent: cut, changed, or killed while being written, a good one is found."""

from __future__ import annotations

import random
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from pipeline.training import checkpoint
from pipeline.training.checkpoint import Checkpoint
from tests.support.launching import environment

CONFIGURATION = {"surrogate": {"width": 8, "modes": [4, 4]}, "seed": 0}


def made(step: int) -> Checkpoint:
    generator = torch.Generator().manual_seed(step)
    tensors = {
        "weights.first": torch.randn(3, 5, generator=generator),
        "weights.second": torch.randn(7, generator=generator, dtype=torch.float64),
        "optimiser.0.step": torch.tensor(float(step)),
        "empty": torch.empty(0, 2),
    }
    return Checkpoint(step, CONFIGURATION, {"best_error": 0.1 / step, "rows": [[1, 0.3]]}, tensors)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for step in (1, 2, 3, 10):
        checkpoint.save(tmp_path, made(step), keep=3)
    return tmp_path


def test_what_is_saved_is_loaded(folder: Path) -> None:
    loaded, saved = checkpoint.load(folder / "step-000000010.safetensors"), made(10)
    assert (loaded.step, loaded.configuration, loaded.metadata) == (10, CONFIGURATION, saved.metadata)
    assert loaded.tensors.keys() == saved.tensors.keys()
    for name, tensor in saved.tensors.items():
        assert loaded.tensors[name].dtype == tensor.dtype
        assert torch.equal(loaded.tensors[name], tensor)


def test_the_last_ones_are_kept(folder: Path) -> None:
    assert [checkpoint.load(path).step for path in checkpoint.paths(folder)] == [2, 3, 10]
    assert sorted(folder.iterdir()) == checkpoint.paths(folder)


@pytest.mark.parametrize(("keep", "left"), [(1, [11]), (2, [10, 11]), (9, [2, 3, 10, 11])])
def test_damaged_later_ones_do_not_take_the_place_of_good_ones(
    folder: Path, keep: int, left: list[int]
) -> None:
    for step in (15, 20):
        (folder / f"step-{step:09d}.safetensors").write_bytes(b"")
    checkpoint.save(folder, made(11), keep)
    assert [checkpoint.load(path).step for path in checkpoint.paths(folder)] == left


def damaged(content: bytes, how: str, rng: random.Random) -> bytes:
    if how == "cut":
        return content[: rng.randrange(len(content))]
    if how == "empty":
        return b""
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ (1 << rng.randrange(8))]) + content[place + 1 :]


@pytest.mark.parametrize("how", ["cut", "flip", "empty"])
@pytest.mark.parametrize("count", [1, 2])
def test_falls_back_to_the_newest_good_one_and_names_the_bad(folder: Path, how: str, count: int) -> None:
    bad = checkpoint.paths(folder)[-count:]
    for path in bad:
        path.write_bytes(damaged(path.read_bytes(), how, random.Random(0)))
    with pytest.warns(UserWarning, match="damaged") as caught:
        newest = checkpoint.newest_good(folder)
    assert newest == checkpoint.paths(folder)[-count - 1]
    for path in bad:
        assert any(str(path) in str(warning.message) for warning in caught)


@pytest.mark.parametrize("how", ["cut", "flip", "empty"])
def test_where_all_are_damaged_nothing_starts_from_step_0(folder: Path, how: str) -> None:
    for number, path in enumerate(checkpoint.paths(folder)):
        path.write_bytes(damaged(path.read_bytes(), how, random.Random(number)))
    with (
        pytest.warns(UserWarning, match="damaged"),
        pytest.raises(ValueError, match=r"all 3 checkpoints .* start_anew=true"),
    ):
        checkpoint.newest_good(folder)


def test_every_flipped_byte_is_seen(folder: Path) -> None:
    """Each byte of the file in turn: header, metadata and tensors."""
    path = folder / "step-000000010.safetensors"
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        with pytest.raises(ValueError, match="is damaged"):
            checkpoint.load(path)


def test_every_shortened_file_is_seen(folder: Path) -> None:
    path = folder / "step-000000010.safetensors"
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="is damaged"):
            checkpoint.load(path)


def test_without_checkpoints_there_is_none(tmp_path: Path) -> None:
    assert checkpoint.newest_good(tmp_path) is None
    assert checkpoint.newest_good(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    "content",
    [
        safetensors.torch.save({"weight": torch.zeros(2)}),
        safetensors.torch.save({"weight": torch.zeros(2)}, {"sha256": "0", "description": "{}"}),
        b"\x80\x04cos\nsystem\n(S'touch hacked'\ntR.",
        (2**40).to_bytes(8, "little") + b"{}",
    ],
    ids=["without metadata", "wrong checksum", "pickle", "giant header"],
)
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "step-000000001.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        checkpoint.load(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.timeout(300)
def test_killed_at_any_time_while_writing_a_good_one_is_there(tmp_path: Path) -> None:
    """A process that does nothing but write checkpoints is killed again and again."""
    rng = np.random.default_rng(0)
    command = [sys.executable, "-m", "tests.faults.train_checkpoint_writer", str(tmp_path)]
    written = 0
    for _ in range(8):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as writer:
            assert writer.stdout is not None
            for _ in range(3):
                written = int(writer.stdout.readline())
            time.sleep(rng.uniform(0, 0.05))
            writer.kill()
            written = max([written, *map(int, writer.stdout.read().split())])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            newest = checkpoint.newest_good(tmp_path)
        assert newest is not None
        found = checkpoint.load(newest)
        assert found.step in (written, written + 1)
        assert all(
            torch.equal(tensor, torch.full_like(tensor, found.step)) for tensor in found.tensors.values()
        )
    checkpoint.save(tmp_path, made(written + 10), keep=3)
    assert len(list(tmp_path.iterdir())) == 3
