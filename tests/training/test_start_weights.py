"""A training that starts from the weights of a trained model: trained longer, or on other data."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.training.start_weights import copy_weights
from simsurrogate.errors import UserError
from surrogates import store
from tests.support.trainings.training_cases import generate_dataset, train_model


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def first_model(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_model(tmp_path_factory.mktemp("first"), dataset)


#: One step that changes hardly a weight.
TINY_STEP = ("training.steps=1", "training.warmup_steps=0", "training.learning_rate=1e-9")


def test_a_training_starts_from_the_weights_of_a_model_on_its_own_or_on_other_data(
    dataset: Path, first_model: Path, tmp_path: Path
) -> None:
    other_dataset = generate_dataset(tmp_path / "data", "seed=5", "solver.initial.amplitude=[5.0,6.0]")
    start = f"training.start_from={first_model}"
    first_weights = dict(store.load(first_model).named_parameters())
    for data in (dataset, other_dataset):
        folder = train_model(tmp_path / data.parent.name, data, start, "model=longer", *TINY_STEP)
        model = store.load(folder)
        for name, weight in model.named_parameters():
            assert torch.allclose(weight, first_weights[name], atol=1e-7), name
        checksum = store.description(first_model)["weights_sha256"]
        assert store.description(folder)["configuration"]["training"]["start_from"] == checksum
    # The means and deviations are those of the new data.
    assert model.problem.statistics.std[0] > 2 * store.load(first_model).problem.statistics.std[0]


def test_a_longer_training_continues_from_the_error_of_the_first(
    dataset: Path, first_model: Path, tmp_path: Path
) -> None:
    folder = train_model(
        tmp_path, dataset, f"training.start_from={first_model}", "model=longer", "training.steps=120"
    )
    first_error, error = (store.description(path)["valid_error"] for path in (first_model, folder))
    assert error < 0.9 * first_error


def test_a_model_without_start_weights_keeps_its_identity(first_model: Path) -> None:
    assert "start_from" not in store.description(first_model)["configuration"]["training"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["surrogate.width=6"], r"model fno with other weights than this model fno.*width=8"),
        (["training.start_from=/no/model"], r"/no/model holds no complete model|no trained model"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    overrides: list[str], message: str, dataset: Path, first_model: Path, tmp_path: Path
) -> None:
    arguments = [f"training.start_from={first_model}", "model=longer", *overrides]
    with pytest.raises(UserError, match=message):
        train_model(tmp_path, dataset, *arguments)
    assert not (tmp_path / "models" / "longer" / "model.json").exists()


def test_the_weights_of_another_surrogate_are_refused(first_model: Path) -> None:
    surrogate = store.load(first_model)
    with pytest.raises(UserError, match=r"a model fno with other weights than this model unet.*width=8"):
        copy_weights(surrogate, "unet", first_model, None)


def test_an_ensemble_is_no_start(dataset: Path, tmp_path: Path) -> None:
    folder = train_model(tmp_path, dataset, "ensemble=2", "training.steps=2")
    with pytest.raises(UserError, match=r"holds an ensemble.*Type training.start_from=.*member-0"):
        train_model(tmp_path, dataset, f"training.start_from={folder}", "model=longer")
