"""Training of every surrogate: equal weights on one and two ranks, and exact resumption after a stop."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from pipeline.training import checkpoint
from surrogates.contract import surrogate_names
from tests.support.launching import forked_mpi_command, require_success, run
from tests.support.trainings.training_cases import are_identical

#: The second-order methods divide by small differences and amplify round-off.
TOLERANCES = {"adamw": 1e-10, "balanced": 1e-10, "lbfgs": 1e-7, "levenberg_marquardt": 1e-7}

# The trainings take two minutes on two free cores, and several times as long on busy cores.
pytestmark = pytest.mark.timeout(1500)


@pytest.fixture(scope="module")
def training_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with trainings of all surrogates on one rank and on two ranks."""
    folder = tmp_path_factory.mktemp("trained")
    program = ("-m", "tests.support.trainings.training_of_surrogates", str(folder))
    require_success(run([sys.executable, *program], timeout=600))
    require_success(run(forked_mpi_command(2, *program), timeout=600))
    return folder


def model_folders(folder: Path, name: str) -> list[Path]:
    """Return the model folders of a surrogate below a folder, one for each data set and training method."""
    paths = sorted(folder.glob(f"*/*/models/{name}"))
    assert paths, f"surrogate={name} fits no data set of training_of_surrogates.py. Add a data set there"
    return paths


def last_weights(model: Path) -> torch.Tensor:
    newest_checkpoint = checkpoint.load(checkpoint.paths(model / "checkpoints")[-1])
    tensors = [
        tensor.flatten() for key, tensor in newest_checkpoint.tensors.items() if key.startswith("weights.")
    ]
    return torch.cat(tensors)


@pytest.mark.parametrize("name", surrogate_names())
def test_one_and_two_ranks_train_the_same_weights_on_the_full_batch(training_folder: Path, name: str) -> None:
    folders = [model_folders(training_folder / ranks / "uninterrupted", name) for ranks in "12"]
    for model_of_one_rank, model_of_two_ranks in zip(*folders, strict=True):
        expected, method = last_weights(model_of_one_rank), model_of_one_rank.parents[1].name
        assert (last_weights(model_of_two_ranks) - expected).norm() <= TOLERANCES[method] * expected.norm(), (
            model_of_one_rank
        )


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("name", surrogate_names())
def test_a_stopped_training_resumes_with_the_same_bits(training_folder: Path, name: str, ranks: int) -> None:
    folders = [
        model_folders(training_folder / str(ranks) / ending, name) for ending in ("uninterrupted", "stopped")
    ]
    for uninterrupted_model, stopped_model in zip(*folders, strict=True):
        assert are_identical(uninterrupted_model, stopped_model), uninterrupted_model
