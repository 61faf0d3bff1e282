"""Damaged, missing and foreign models: loading refuses them with the path and executes no code."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import surrogates
from simsurrogate.errors import UserError
from simsurrogate.files import digest
from surrogates import store
from surrogates.contract import Prediction, Problem, Surrogate
from tests.support import problems
from tests.support.disks import NEEDS_ROOT, mounted_disk


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    problem = problems.grid_problem((12,), ("periodic",))
    options = {"width": 4, "modes": 3, "layers": 1}
    store.save(tmp_path, store.build("fno", options, problem, "float32"), "fno", options, {"dataset": "abc"})
    assert store.is_whole(tmp_path)
    return tmp_path


def change_description(**changes: Any) -> Callable[[Path], None]:
    """Return a function that changes keys of `model.json` and gives it the digest of the new content."""

    def write_changes(folder: Path) -> None:
        path = folder / store.DESCRIPTION
        content = json.loads(path.read_text()) | changes
        del content["sha256"]
        path.write_text(json.dumps(content | {"sha256": digest(content)}))

    return write_changes


def change_statistics(**changes: Any) -> Callable[[Path], None]:
    """Return a function that changes statistics in `model.json`, with the digest of the new content."""

    def write_changes(folder: Path) -> None:
        problem = json.loads((folder / store.DESCRIPTION).read_text())["problem"]
        problem["statistics"] |= changes
        change_description(problem=problem)(folder)

    return write_changes


def change_one_digit(folder: Path) -> None:
    path = folder / store.DESCRIPTION
    content = json.loads(path.read_text())
    content["problem"]["statistics"]["parameter_mean"][0] += 1.0
    path.write_text(json.dumps(content))


def set_sites(size: int) -> Callable[[Path], None]:
    """Return a function that sets the number of cells in `model.json`, with the digest of the new content."""

    def write_changes(folder: Path) -> None:
        problem = json.loads((folder / store.DESCRIPTION).read_text())["problem"]
        problem["spec"]["sites"]["axes"][0]["size"] = size
        change_description(problem=problem)(folder)

    return write_changes


def lengthen_header(folder: Path) -> None:
    """Give the weights a long header, with the matching checksum in `model.json`."""
    path = folder / store.WEIGHTS
    content = path.read_bytes()
    path.write_bytes((10**9).to_bytes(8, "little") + content[8:])
    change_description(weights_sha256=hashlib.sha256(path.read_bytes()).hexdigest())(folder)


def flip_last_byte(folder: Path) -> None:
    path = folder / store.WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def replace_with_pipe(folder: Path) -> None:
    (folder / store.WEIGHTS).unlink()
    os.mkfifo(folder / store.WEIGHTS)


def replace_with_endless_device(folder: Path) -> None:
    (folder / store.WEIGHTS).unlink()
    (folder / store.WEIGHTS).symlink_to("/dev/zero")


def truncate_weights(folder: Path) -> None:
    path = folder / store.WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: (folder / store.DESCRIPTION).unlink(),
            "no trained model.*Type python -m pipeline.train",
        ),
        (lambda folder: (folder / store.WEIGHTS).unlink(), "model.safetensors cannot be loaded"),
        (replace_with_pipe, "cannot be loaded .it has 0 bytes"),
        (replace_with_endless_device, "cannot be loaded .it has 0 bytes"),
        (lambda folder: (folder / store.DESCRIPTION).write_text("{"), "cannot be read as JSON"),
        (lambda folder: (folder / store.DESCRIPTION).write_text("[1]"), "is not a JSON object"),
        (lambda folder: (folder / store.DESCRIPTION).write_text("[" * 10**5), "recursion limit exceeded"),
        (lambda folder: (folder / store.DESCRIPTION).write_bytes(b"\xff\xfe\x00"), "cannot be read as JSON"),
        (change_one_digit, "model.json was changed: the digest"),
        (change_statistics(std=[math.nan, 1.0]), "statistics std are .*nan.*finite numbers expected"),
        (change_statistics(std=[-1.0, 1.0]), "statistics std are .*finite numbers expected"),
        (change_statistics(mean=[0.0]), "statistics mean have 1 values, 2 expected"),
        (change_description(num_parameters="many"), "num_parameters: Input should be a valid integer"),
        (change_description(weights_sha256=None), "weights_sha256: Input should be a valid string"),
        (change_description(members_sha256=[3]), "members_sha256.0: Input should be a valid string"),
        (change_description(members_sha256=["0" * 64]), "member-0 holds no trained model"),
        (flip_last_byte, "checksum"),
        (truncate_weights, "checksum"),
        (
            change_description(format="someone's model 3"),
            "format .*The expected format is 'simsurrogate model 4'",
        ),
        (
            change_description(format="simsurrogate model 3"),
            "model 3' of an older version. .*Train the model again",
        ),
        (change_description(surrogate="os.system"), "'os.system' is not one of .*fno, .*unet"),
        (change_description(surrogate="autoregressive"), "'autoregressive' is not one of"),
        (
            change_description(surrogate="mine", path="mine.py"),
            r"'mine' is not one of .*surrogates\.load\(.*path=",
        ),
        (change_description(options={"width": 4}), "cannot be loaded"),
        (change_description(options={"width": 5, "modes": 3, "layers": 1}), "cannot be loaded"),
        (
            change_description(options={"width": 4, "modes": 3, "layers": 1, "_target_": "os.system"}),
            "_target_",
        ),
        (
            change_description(options={"width": 10**6, "modes": 3, "layers": 1}),
            "surrogate has weights of 48000052000008 bytes",
        ),
        (
            change_description(options={"width": 4, "modes": 3, "layers": 10**9}),
            "more than 5000 arrays of weights",
        ),
        (set_sites(10**12), "a prediction on 1000000000000 sites needs at least"),
        (set_sites(0), "axes.0.size"),
        (set_sites(-12), "axes.0.size"),
        (lengthen_header, "its header is longer than"),
        (change_description(problem={}), "cannot be loaded"),
        (change_description(precision="int8"), "precision: Input should be 'float32'"),
    ],
)
def test_a_damaged_or_foreign_model_is_refused(
    folder: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(folder)
    with pytest.raises(UserError, match=message):
        surrogates.load(folder)


OWN_SURROGATE = '''
from surrogates.fno import FNO

class Mine(FNO):
    """A surrogate in a user's file."""
'''


def test_a_surrogate_in_a_users_file_is_loaded_if_the_caller_passes_its_path(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(OWN_SURROGATE)
    problem, options = problems.grid_problem((12,), ("periodic",)), {"width": 4, "modes": 3, "layers": 1}
    store.save(tmp_path, store.build("mine", options, problem, "float32", file), "mine", options, {})
    assert "mine.py" not in (tmp_path / store.DESCRIPTION).read_text()
    with pytest.raises(UserError, match="the surrogate 'mine', which was not found"):
        surrogates.load(tmp_path)
    loaded_surrogate = surrogates.load(tmp_path, path=file)
    assert type(loaded_surrogate).__name__ == "Mine"
    num_weights = _num_weights(loaded_surrogate)
    expected = f"Mine for two fields: 12 cells, temperature, pressure, {num_weights} weights, trained"
    assert repr(loaded_surrogate) == expected


NORMED_SURROGATE = '''
import torch
from surrogates.fno import FNO

class Normed(FNO):
    """A surrogate whose constructor needs the values of a large array."""

    def __init__(self, problem, size):
        super().__init__(problem, width=4, modes=3, layers=1)
        self.weights = torch.nn.Parameter(torch.ones(size))
        self.norm = self.weights.norm().item()
'''


def test_arrays_with_values_are_bounded_by_the_size_of_the_weights(tmp_path: Path) -> None:
    file = tmp_path / "normed.py"
    file.write_text(NORMED_SURROGATE)
    problem, options = problems.grid_problem((12,), ("periodic",)), {"size": 2**17}
    store.save(tmp_path, store.build("normed", options, problem, "float32", file), "normed", options, {})
    surrogates.load(tmp_path, path=file)
    change_description(options={"size": 10**8})(tmp_path)
    with pytest.raises(
        UserError, match=r"needs the values of 381 MiB of arrays.* At most 256 MiB are allowed"
    ):
        surrogates.load(tmp_path, path=file)


def _num_weights(surrogate: Surrogate) -> str:
    return f"{sum(weight.numel() for weight in surrogate.parameters()):,}"


def test_a_problem_has_a_description_and_equals_its_round_trip() -> None:
    problem = problems.grid_problem((12,), ("periodic",))
    assert Problem.from_json(json.loads(json.dumps(problem.to_json()))) == problem
    assert repr(problem) == (
        "Problem two fields: 12 cells, temperature, pressure, given conductivity, power; "
        "2 s in steps of 0.25 s"
    )
    with pytest.raises(ValueError, match="unexpected"):
        Problem.from_json(problem.to_json() | {"unexpected": 1})


def test_a_folder_with_an_incomplete_model_is_not_whole(folder: Path) -> None:
    flip_last_byte(folder)
    assert not store.is_whole(folder)
    (folder / store.WEIGHTS).unlink()
    assert not store.is_whole(folder)
    assert not store.is_whole(folder / "nowhere")


@NEEDS_ROOT
@pytest.mark.fault(
    "the disk is full while weights are saved",
    cause="tmpfs of 16 kB",
    result="message with the size; no partial file",
    lost="the weights in work",
)
def test_a_full_disk_leaves_no_partial_file(tmp_path: Path) -> None:
    with mounted_disk(tmp_path, "16k") as disk:
        options = {"width": 16, "modes": 5, "layers": 3}
        model = store.build("fno", options, problems.grid_problem((12,), ("periodic",)), "float32")
        with pytest.raises(OSError, match=r"bytes of .*/model\.safetensors: No space.*Make room"):
            store.save(disk, model, "fno", options, {})
        assert not list(disk.iterdir())


def test_a_prediction_prints_its_sizes_and_members() -> None:
    mean = torch.zeros(2, 3, 1, 4, 5)
    prediction = Prediction(mean)
    assert (
        repr(prediction) == "Prediction of 2 trajectories by a single model: 3 frames, 1 channels, 4x5 sites"
    )
    assert "by 6 members: 3 frames" in repr(Prediction(mean, mean, mean.expand(6, *mean.shape)))
