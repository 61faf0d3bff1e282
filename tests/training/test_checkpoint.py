"""Checkpoints: damage is detected, and after damage or a kill an intact checkpoint remains."""

from __future__ import annotations

import os
import random
import time
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from pipeline.training import checkpoint
from pipeline.training.checkpoint import Checkpoint
from simsurrogate.errors import UserError
from tests.faults import train_checkpoint_writer
from tests.support.forked import fork_server

CONFIGURATION = {"surrogate": {"width": 8, "modes": [4, 4]}, "seed": 0}


def random_checkpoint(step: int) -> Checkpoint:
    """Return a checkpoint with random tensors."""
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
        checkpoint.save(tmp_path, random_checkpoint(step), num_kept=3)
    return tmp_path


def test_a_saved_checkpoint_is_loaded_with_the_same_content(folder: Path) -> None:
    loaded_checkpoint, saved_checkpoint = (
        checkpoint.load(folder / "step-000000010.safetensors"),
        random_checkpoint(10),
    )
    assert (loaded_checkpoint.step, loaded_checkpoint.configuration, loaded_checkpoint.metadata) == (
        10,
        CONFIGURATION,
        saved_checkpoint.metadata,
    )
    assert loaded_checkpoint.tensors.keys() == saved_checkpoint.tensors.keys()
    for name, tensor in saved_checkpoint.tensors.items():
        assert loaded_checkpoint.tensors[name].dtype == tensor.dtype
        assert torch.equal(loaded_checkpoint.tensors[name], tensor)


def test_the_newest_checkpoints_are_kept(folder: Path) -> None:
    assert [checkpoint.load(path).step for path in checkpoint.paths(folder)] == [2, 3, 10]
    assert sorted(folder.iterdir()) == checkpoint.paths(folder)


@pytest.mark.parametrize(("num_kept", "expected_steps"), [(1, [11]), (2, [10, 11]), (9, [2, 3, 10, 11])])
def test_damaged_later_checkpoints_do_not_replace_intact_checkpoints(
    folder: Path, num_kept: int, expected_steps: list[int]
) -> None:
    for step in (15, 20):
        (folder / f"step-{step:09d}.safetensors").write_bytes(b"")
    checkpoint.save(folder, random_checkpoint(11), num_kept)
    assert [checkpoint.load(path).step for path in checkpoint.paths(folder)] == expected_steps


def damage_content(content: bytes, damage: str, rng: random.Random) -> bytes:
    """Return the content of a file with damage: `cut`, `flip` (one bit) or `empty`."""
    if damage == "cut":
        return content[: rng.randrange(len(content))]
    if damage == "empty":
        return b""
    index = rng.randrange(len(content))
    return content[:index] + bytes([content[index] ^ (1 << rng.randrange(8))]) + content[index + 1 :]


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
@pytest.mark.parametrize("count", [1, 2])
def test_the_newest_intact_checkpoint_is_selected_and_damaged_checkpoints_are_named(
    folder: Path, damage: str, count: int
) -> None:
    damaged_paths = checkpoint.paths(folder)[-count:]
    for path in damaged_paths:
        path.write_bytes(damage_content(path.read_bytes(), damage, random.Random(0)))
    with pytest.warns(UserWarning, match="damaged") as warning_records:
        newest_path = checkpoint.newest_intact(folder)
    assert newest_path == checkpoint.paths(folder)[-count - 1]
    for path in damaged_paths:
        assert any(str(path) in str(warning.message) for warning in warning_records)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_damaged_checkpoints_only_are_an_error_and_no_new_start(folder: Path, damage: str) -> None:
    for seed, path in enumerate(checkpoint.paths(folder)):
        path.write_bytes(damage_content(path.read_bytes(), damage, random.Random(seed)))
    with (
        pytest.warns(UserWarning, match="damaged"),
        pytest.raises(ValueError, match=r"all 3 checkpoints .* overwrite=true"),
    ):
        checkpoint.newest_intact(folder)


def test_every_modified_byte_is_detected(folder: Path) -> None:
    """Modify each byte of the header, the metadata and the tensors in turn."""
    path = folder / "step-000000010.safetensors"
    content = path.read_bytes()
    for index in range(len(content)):
        path.write_bytes(content[:index] + bytes([content[index] ^ 0x10]) + content[index + 1 :])
        with pytest.raises(ValueError, match="is damaged"):
            checkpoint.load(path)


def test_every_truncation_is_detected(folder: Path) -> None:
    path = folder / "step-000000010.safetensors"
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="is damaged"):
            checkpoint.load(path)


@pytest.mark.timeout(60)
def test_a_pipe_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "step-000000001.safetensors"
    os.mkfifo(path)
    with pytest.raises(UserError, match="is a pipe or a device"):
        checkpoint.load(path)
    assert checkpoint.newest_intact(tmp_path) is None


def test_a_folder_without_checkpoints_has_no_newest_checkpoint(tmp_path: Path) -> None:
    assert checkpoint.newest_intact(tmp_path) is None
    assert checkpoint.newest_intact(tmp_path / "nowhere") is None


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
@pytest.mark.fault(
    "a checkpoint holds a pickle or a giant header",
    cause="forged files",
    result="refused; nothing is executed or allocated",
    lost="nothing",
)
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # The command of the pickle would create a file here.
    path = tmp_path / "step-000000001.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        checkpoint.load(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("num_kills", [8, pytest.param(1000, marks=pytest.mark.soak)])
@pytest.mark.fault(
    "a process dies while it writes checkpoints",
    cause="{num_kills} times SIGKILL at a random moment",
    result="the newest checkpoint is whole after every kill",
    lost="at most the checkpoint in work",
)
def test_an_intact_checkpoint_remains_after_a_kill_at_any_time(num_kills: int, tmp_path: Path) -> None:
    """Kill a process that only writes checkpoints at random times."""
    rng = np.random.default_rng(0)
    # The fork server imports torch once for all writers.
    context = fork_server()
    step = 0
    for _ in range(num_kills):
        receiver, sender = context.Pipe(duplex=False)
        writer = context.Process(target=train_checkpoint_writer.write_forever, args=(tmp_path, sender))
        writer.start()
        sender.close()
        for _ in range(3):
            step = receiver.recv()
        time.sleep(rng.uniform(0, 0.05))
        writer.kill()
        writer.join()
        with suppress(EOFError):
            while True:
                step = receiver.recv()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            newest_path = checkpoint.newest_intact(tmp_path)
        assert newest_path is not None
        loaded_checkpoint = checkpoint.load(newest_path)
        assert loaded_checkpoint.step in (step, step + 1)
        expected = torch.full((40_000,), float(loaded_checkpoint.step))
        assert all(torch.equal(tensor, expected) for tensor in loaded_checkpoint.tensors.values())
    checkpoint.save(tmp_path, random_checkpoint(step + 10), num_kept=3)
    assert len(list(tmp_path.iterdir())) == 3
