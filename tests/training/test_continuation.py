"""A finished model that is trained for more steps, and a model whose data set grows."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline import chain_check
from pipeline.training import checkpoint, loop
from pipeline.training.learning_rate import learning_rate
from simsurrogate.errors import UserError
from surrogates import store
from tests.support.trainings.training_cases import (
    are_identical,
    generate_dataset,
    read_settings,
    tiny_arguments,
    train_model,
)

SHORT = "training.steps=20"
CONSTANT = "training.schedule=constant"
#: The options of `generate_dataset`.
DATA = (
    "solver.extent=[1.0]",
    "solver.resolution=24",
    "storage.max_error=0.1",
    "output={steps: 6, duration: 0.06}",
)


@pytest.fixture(scope="module")
def short_model(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_model(tmp_path_factory.mktemp("short"), dataset, SHORT)


def copy_of(model: Path, folder: Path) -> Path:
    """Return a run folder with a copy of a model."""
    shutil.copytree(model, folder / "models" / model.name)
    return folder


def test_a_constant_rate_continues_as_if_the_training_had_not_ended(dataset: Path, tmp_path: Path) -> None:
    uninterrupted = train_model(tmp_path / "long", dataset, CONSTANT)
    short = train_model(tmp_path / "raised", dataset, CONSTANT, SHORT)
    assert store.description(short)["configuration"]["training"]["steps"] == 20
    assert are_identical(train_model(tmp_path / "raised", dataset, CONSTANT), uninterrupted)
    assert store.description(short)["configuration"]["continued_after"] == [20]


def test_a_continued_training_has_the_rate_of_the_longer_schedule_and_resumes_exactly(
    dataset: Path,
    short_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    uninterrupted = train_model(copy_of(short_model, tmp_path / "uninterrupted"), dataset)
    assert "continues after step 20 to step 30" in capsys.readouterr().out
    options = read_settings(*tiny_arguments(tmp_path, dataset)).training
    log = np.loadtxt(uninterrupted / "log.csv", delimiter=",", skiprows=1)
    assert log[-1, :2].tolist() == [30, pytest.approx(learning_rate(29, options))]
    assert learning_rate(20, options) > 10 * learning_rate(29, options)

    original_step = loop.train_step

    def failing_step(*arguments: object) -> tuple[float, float]:
        if arguments[2].step == 27:  # type: ignore[attr-defined]
            raise RuntimeError("the power failed")
        return original_step(*arguments)  # type: ignore[arg-type]

    killed_run = copy_of(short_model, tmp_path / "killed")
    monkeypatch.setattr(loop, "train_step", failing_step)
    with pytest.raises(RuntimeError, match="power"):
        train_model(killed_run, dataset)
    monkeypatch.undo()
    # Until the longer training ends, the folder holds the shorter model.
    killed_model = killed_run / "models" / "fno"
    assert store.is_whole(killed_model)
    assert store.description(killed_model) == store.description(short_model)
    assert checkpoint.paths(killed_model / "checkpoints")[-1].stem == "step-000000025"
    assert are_identical(train_model(killed_run, dataset), uninterrupted)
    assert store.description(killed_model) == store.description(uninterrupted)
    with pytest.raises(UserError, match=r"training.steps: 30 -> 20.*only its training.steps may grow"):
        train_model(killed_run, dataset, SHORT)


def test_each_member_of_an_ensemble_continues(dataset: Path, tmp_path: Path) -> None:
    arguments = (CONSTANT, "ensemble=2", "training.validate_every=5")
    long_ensemble = train_model(tmp_path / "long", dataset, *arguments, "training.steps=10")
    train_model(tmp_path / "raised", dataset, *arguments, "training.steps=5")
    ensemble = train_model(tmp_path / "raised", dataset, *arguments, "training.steps=10")
    for index in range(2):
        folders = [store.member_folder(folder, index) for folder in (ensemble, long_ensemble)]
        assert are_identical(*folders)
        assert store.description(folders[0])["configuration"]["continued_after"] == [5]
    assert store.is_whole(ensemble)


def test_other_changes_and_a_model_without_checkpoints_are_not_continued(
    dataset: Path, short_model: Path, tmp_path: Path
) -> None:
    run = copy_of(short_model, tmp_path)
    for changes in (("training.noise=0.1",), ("training.finish.method=lbfgs", "training.finish.steps=1")):
        with pytest.raises(UserError, match=r"trained with another configuration.*overwrite=true"):
            train_model(run, dataset, *changes)
    shutil.rmtree(run / "models" / "fno" / "checkpoints")
    with pytest.raises(UserError, match=r"holds no checkpoint.*model=NAME training.start_from="):
        train_model(run, dataset)


def test_a_model_stays_a_model_of_the_smaller_data_set(tmp_path: Path) -> None:
    few, many = "samples.train=4", "samples.train=8"
    dataset = generate_dataset(tmp_path, few)
    shards = {path: path.read_bytes() for path in dataset.glob("data/*/*.hdf5")}
    model = train_model(tmp_path, dataset, "training.steps=2")
    description = store.description(model)
    message = r"fewer trajectories of this data set \(4 -> 8 train\).*training.start_from="
    samples = "samples={train: 8, valid: 3, test: 4, test_extrapolation: 0, per_shard: 4}"
    arguments = tiny_arguments(tmp_path, dataset, *DATA, samples, "training.steps=2")
    with pytest.raises(UserError, match=message):
        chain_check.check(read_settings(*arguments))
    generate_dataset(tmp_path, many)
    assert {path: path.read_bytes() for path in shards} == shards
    with pytest.raises(UserError, match=message):
        train_model(tmp_path, dataset, "training.steps=2")
    assert store.description(model) == description
    start = ("model=grown", f"training.start_from={model}")
    grown = train_model(tmp_path, dataset, "training.steps=2", *start)
    assert store.description(grown)["configuration"]["data"]["trajectories"]["train"] == 8
