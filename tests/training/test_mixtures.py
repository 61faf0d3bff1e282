"""Training on mixtures of simulated and measured data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from pipeline import evaluate, validate
from pipeline.data.dataset import Dataset
from pipeline.data.mixture import Mixture, is_measured
from pipeline.evaluation import schema
from simsurrogate.errors import UserError
from surrogates import store
from tests.support.trainings.measured_data import NOISE, measured_dataset
from tests.support.trainings.power_failures import resumed_model
from tests.support.trainings.training_cases import (
    are_identical,
    generate_dataset,
    read_settings,
    task_of,
    tiny_arguments,
    train_model,
    train_together,
)

ADAPTIVE = ("mixture.weights=[0.75,0.25]", "mixture.schedule=adaptive", "mixture.final_weights=[0.25,0.75]")
OPTIONS = ("training.noise=0.05", "training.ema=0.9", "training.gradient_accumulation_steps=2")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return measured_dataset(tmp_path_factory.mktemp("measured"))


@pytest.fixture(scope="module")
def both(dataset: Path, measured: Path) -> str:
    return f"dataset=[{dataset},{measured}]"


def test_an_adaptive_mixture_with_gaps_resumes_exactly_and_is_evaluated_apart(
    dataset: Path,
    measured: Path,
    both: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # A large learning rate, so that some validations have no smaller error.
    arguments = (both, *ADAPTIVE, *OPTIONS, "training.validate_every=2", "training.learning_rate=0.3")
    model = train_model(tmp_path / "uninterrupted", dataset, *arguments)
    resumed = resumed_model(tmp_path / "killed", dataset, *arguments, failed_step=18)
    assert are_identical(resumed, model)
    errors = np.loadtxt(model / "log.csv", delimiter=",", skiprows=1)[:, 3]
    assert (errors[1:9] >= np.minimum.accumulate(errors[:8])).any(), "the schedule has adapted before step 18"
    identity = store.description(model)["configuration"]
    assert identity["mixture"] == {
        "datasets": [Dataset.open(dataset).identity, Dataset.open(measured).identity],
        "weights": [0.75, 0.25],
        "schedule": "adaptive",
        "final_weights": [0.25, 0.75],
    }
    with pytest.raises(UserError, match=r"mixture.*stored -> requested"):
        train_model(tmp_path / "killed", dataset, both, "mixture.weights=[0.5,0.5]", *OPTIONS)

    fast = ("evaluation.worth=0", "evaluation.figures=0")
    run = tmp_path / "uninterrupted"
    evaluate.run(read_settings(*tiny_arguments(run, dataset, both, *fast)))
    assert "on each data set" in capsys.readouterr().out
    metrics = schema.read(run / "models" / "fno" / "evaluation" / "metrics.json")
    (source,) = metrics.sources
    assert (source.measured, source.trajectories) == (True, 3)
    rms = Dataset.open(measured).statistics["rms"]["temperature"]
    assert source.noise == {"temperature": pytest.approx(NOISE / rms)}
    # Persistence has the noise of two frames where the field decays little from frame to frame.
    assert source.headline["persistence"].one_step.median > NOISE / rms
    report = (run / "models" / "fno" / "evaluation" / "report.html").read_text()
    assert "on the test split of each data set" in report
    assert "mixture of 2 data sets" in (run / "models" / "fno" / "README.md").read_text()
    with pytest.raises(UserError, match=r"has declared gaps.*\[COMPLETE"):
        evaluate.run(read_settings(*tiny_arguments(run, measured, *fast)))


def test_two_ranks_train_the_same_weights_as_one(dataset: Path, both: str, tmp_path: Path) -> None:
    # Batches of 4 windows, with 2 micro-batches of 1 window on each of 2 ranks.
    common = ("training.precision=float64", "training.steps=6", "training.validate_every=2", *OPTIONS)
    annealed = ("mixture.weights=[0.6,0.4]", "mixture.schedule=annealed", "mixture.final_weights=[0.1,0.9]")
    cases = {"adaptive": (both, *ADAPTIVE, *common), "annealed": (both, *annealed, *common)}
    train_together(
        tmp_path / "runs.json",
        [tiny_arguments(tmp_path / "two" / name, dataset, *case) for name, case in cases.items()],
    )
    for name, case in cases.items():
        model = train_model(tmp_path / name, dataset, *case)
        folders = (tmp_path / "two" / name / "models" / "fno", model)
        weights, expected = (safetensors.torch.load_file(folder / "model.safetensors") for folder in folders)
        for key, weight in expected.items():
            torch.testing.assert_close(weights[key], weight, rtol=1e-8, atol=1e-10)


def test_measurements_alone_fine_tune_a_model_of_simulations(
    dataset: Path, both: str, undisturbed_model: Path, tmp_path: Path
) -> None:
    start = (f"training.start_from={undisturbed_model}", "training.learning_rate=1e-3")
    model = train_model(tmp_path, dataset, both, "mixture.weights=[0,1]", "model=tuned", *start)
    log = np.loadtxt(model / "log.csv", delimiter=",", skiprows=1)
    description = store.description(model)
    assert description["configuration"]["lineage"][0]["dataset"] == Dataset.open(dataset).identity
    # The pretrained weights are trained on, and the error is on the measured data.
    assert description["valid_error"] == log[:, 3].min() < 1.0


def test_a_single_data_set_is_no_mixture(dataset: Path, measured: Path) -> None:
    task = task_of(dataset)
    assert "mixture" not in task.identity
    assert not isinstance(task.dataset, Mixture)
    assert not is_measured(task.dataset)
    alone = task_of(measured)
    assert isinstance(alone.dataset, Mixture)
    assert [is_measured(item) for item in alone.datasets] == [True]


def test_mixtures_that_cannot_be_trained_are_refused(
    dataset: Path, measured: Path, both: str, tmp_path: Path
) -> None:
    weights = "mixture.weights=[0.5,0.5]"
    for overrides, message in (
        ((both,), r"mixture.weights has 0 numbers, and dataset= names 2.*Type mixture.weights=\[0.5,0.5\]"),
        ((both, "mixture.weights=[0.5,0.6]"), r"has the sum 1.1.*Type mixture.weights=\[0.454545,0.545455\]"),
        ((both, "mixture.weights=[0.2,0.3,0.5]"), r"has 3 numbers, and dataset= names 2 data sets"),
        ((both, weights, "mixture.schedule=annealed"), r"final_weights is missing for .*annealed"),
        ((both, weights, "mixture.final_weights=[0,1]"), r"has no effect with mixture.schedule=constant"),
        ((f"dataset=[{dataset},{dataset}]", weights), r"names a data set twice"),
        ((both, weights, f"training.other_grids=[{dataset}]"), r"Only one of the two is allowed"),
    ):
        with pytest.raises(UserError, match=message):
            task_of(dataset, *overrides)
    with pytest.raises(UserError, match=r"names 2 data sets, and validate works on one"):
        validate.run(read_settings(f"run={tmp_path}", both, weights))
    for name, generated, message in (
        ("fine", ("solver.resolution=36",), r"has 36 sites, and the first .* 24.*training.other_grids="),
        ("fast", ("output.steps=3",), r"does not fit the first data set: time_step: 0.02 here"),
    ):
        samples = "samples={train: 4, valid: 0, test: 1, test_extrapolation: 0, per_shard: 4}"
        samples = samples.replace("valid: 0", "valid: 1")
        other = generate_dataset(tmp_path / name, samples, *generated)
        with pytest.raises(UserError, match=message):
            task_of(dataset, f"dataset=[{dataset},{other}]", weights)
        adaptive = ("mixture.schedule=adaptive", "mixture.final_weights=[0,1]")
    simulated = generate_dataset(tmp_path / "other", "seed=3", samples)
    with pytest.raises(UserError, match=r"adaptive follows the error on measured data, and no data set"):
        task_of(dataset, f"dataset=[{dataset},{simulated}]", weights, *adaptive)


def test_surrogates_without_weights_of_values_are_refused(dataset: Path, both: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"PIDeepONet has losses without weights.*deeponet, fno"):
        train_model(tmp_path, dataset, both, "mixture.weights=[0.5,0.5]", "surrogate=pi_deeponet")
