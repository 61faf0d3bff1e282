"""Every surrogate trains the same weights on two ranks as on one, and resumes exactly after a stop."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from pipeline.training import checkpoint
from surrogates.contract import surrogate_names
from tests.support.launching import mpi, run, succeeded
from tests.support.training_cases import are_identical

#: A line search and a damped solution divide by small differences, which amplifies round-off.
TOLERANCES = {"adamw": 1e-10, "balanced": 1e-10, "lbfgs": 1e-7, "levenberg_marquardt": 1e-7}

# The trainings take two minutes on two free cores, and several times as long on busy ones.
pytestmark = pytest.mark.timeout(1500)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all surrogates, trained on the data sets that they fit, on one rank and on two."""
    folder = tmp_path_factory.mktemp("trained")
    program = ("-m", "tests.support.training_of_surrogates", str(folder))
    succeeded(run([sys.executable, *program], timeout=600))
    succeeded(run(mpi(2, *program), timeout=600))
    return folder


def models(folder: Path, name: str) -> list[Path]:
    """Return the model folders of a surrogate below a folder, one for each data set and way to train."""
    paths = sorted(folder.glob(f"*/*/models/{name}"))
    assert paths, f"no data set of tests.support.training_of_surrogates fits {name}: add one there"
    return paths


def weights(model: Path) -> torch.Tensor:
    last = checkpoint.load(checkpoint.paths(model / "checkpoints")[-1])
    tensors = [tensor.flatten() for key, tensor in last.tensors.items() if key.startswith("weights.")]
    return torch.cat(tensors)


@pytest.mark.parametrize("name", surrogate_names())
def test_two_ranks_train_the_same_weights_as_one_on_the_full_batch(trained: Path, name: str) -> None:
    folders = [models(trained / ranks / "straight", name) for ranks in "12"]
    for one, two in zip(*folders, strict=True):
        expected, way = weights(one), one.parents[1].name
        assert (weights(two) - expected).norm() <= TOLERANCES[way] * expected.norm(), one


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("name", surrogate_names())
def test_a_stopped_training_resumes_with_the_same_bits(trained: Path, name: str, ranks: int) -> None:
    folders = [models(trained / str(ranks) / ending, name) for ending in ("straight", "stopped")]
    for straight, stopped in zip(*folders, strict=True):
        assert are_identical(straight, stopped), straight
