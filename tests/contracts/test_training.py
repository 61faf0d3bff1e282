"""Every surrogate trains on two ranks what it trains on one, and goes on exactly after a stop."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.training import checkpoint
from surrogates.contract import surrogate_names
from tests.support.launching import mpi, run, succeeded
from tests.support.training_cases import same


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every surrogate on the data sets that it fits, in all ways, on one rank and on two."""
    folder = tmp_path_factory.mktemp("trained")
    for ranks in (1, 2):
        succeeded(run(mpi(ranks, "-m", "tests.support.training_on_ranks", str(folder))))
    return folder


def models(folder: Path, name: str) -> list[Path]:
    """The model folders of a surrogate below a folder, one for each data set and way to train."""
    found = sorted(folder.glob(f"*/*/models/{name}"))
    assert found, f"no data set of tests.support.training_on_ranks fits {name}: add one there"
    return found


def weights(model: Path) -> torch.Tensor:
    last = checkpoint.load(checkpoint.paths(model / "checkpoints")[-1])
    return torch.cat([each.flatten() for key, each in last.tensors.items() if key.startswith("weights.")])


#: A line search and a damped solution divide by small differences, which costs digits of what rounding left.
CLOSE = {"adamw": 1e-10, "balanced": 1e-10, "lbfgs": 1e-7, "levenberg_marquardt": 1e-7}


@pytest.mark.parametrize("name", surrogate_names())
def test_two_ranks_train_what_one_trains_on_the_full_batch(trained: Path, name: str) -> None:
    straight = [models(trained / ranks / "straight", name) for ranks in "12"]
    for one, two in zip(*straight, strict=True):
        expected, way = weights(one), one.parents[1].name
        assert (weights(two) - expected).norm() <= CLOSE[way] * expected.norm(), one


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("name", surrogate_names())
def test_stopped_and_resumed_gives_the_same_bits(trained: Path, name: str, ranks: int) -> None:
    endings = [models(trained / str(ranks) / ending, name) for ending in ("straight", "stopped")]
    for straight, stopped in zip(*endings, strict=True):
        assert same(straight, stopped), straight
