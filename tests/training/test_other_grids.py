"""Training on data sets of one system on several grids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from pipeline.data.dataset import Dataset
from pipeline.training import option_checks
from pipeline.training.batches.order import BatchOrder
from pipeline.training.batches.sources import GridData
from simsurrogate.errors import UserError
from surrogates import store
from tests.support import problems
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

SAMPLES = "samples={train: 6, valid: 2, test: 1, test_extrapolation: 0, per_shard: 6}"
OPTIONS = ("training.noise=0.05", "training.ema=0.9", "training.gradient_accumulation_steps=2")


@pytest.fixture(scope="module")
def other_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_dataset(tmp_path_factory.mktemp("other"), "solver.resolution=36", SAMPLES)


@pytest.fixture(scope="module")
def on_both(other_dataset: Path) -> str:
    return f"training.other_grids=[{other_dataset}]"


def test_a_training_on_two_grids_resumes_exactly(
    dataset: Path, other_dataset: Path, on_both: str, tmp_path: Path
) -> None:
    model = train_model(tmp_path / "uninterrupted", dataset, on_both, *OPTIONS)
    resumed = resumed_model(tmp_path / "killed", dataset, on_both, *OPTIONS, failed_step=18)
    assert are_identical(resumed, model)
    description = store.description(model)
    assert description["configuration"]["training"]["other_grids"] == [Dataset.open(other_dataset).identity]
    assert store.load(model).problem.spec.shape == (24,)
    with pytest.raises(UserError, match="other_grids"):
        train_model(tmp_path / "killed", dataset, *OPTIONS)


def test_two_ranks_train_the_same_weights_as_one(dataset: Path, on_both: str, tmp_path: Path) -> None:
    arguments = (on_both, *OPTIONS, "training.precision=float64", "training.steps=6")
    model = train_model(tmp_path / "one", dataset, *arguments)
    train_together(tmp_path / "runs.json", [tiny_arguments(tmp_path / "two", dataset, *arguments)])
    folders = (tmp_path / "two" / "models" / "fno", model)
    weights, expected = (safetensors.torch.load_file(folder / "model.safetensors") for folder in folders)
    for name, weight in expected.items():
        torch.testing.assert_close(weights[name], weight, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("overrides", [(), ("surrogate=deeponet",), ("surrogate=pi_deeponet",)])
def test_both_surrogates_have_the_same_weights(
    overrides: tuple[str, ...], dataset: Path, on_both: str, tmp_path: Path
) -> None:
    task = task_of(dataset, on_both, *overrides)
    torch.manual_seed(0)
    surrogate = task.build_surrogate(1)
    state = torch.get_rng_state()
    (other,) = task.on_other_grids(surrogate)
    assert torch.equal(torch.get_rng_state(), state)
    assert other.surrogate.problem.spec.shape == (36,)
    assert other.surrogate.problem.statistics == surrogate.problem.statistics
    pairs = zip(surrogate.named_parameters(), other.surrogate.named_parameters(), strict=True)
    assert all(name == other_name and weight is same for (name, weight), (other_name, same) in pairs)
    losses = []
    for data in (GridData(surrogate, task.dataset), other):
        windows = data.dataset.windows("train", task.training.unroll + 1)
        batch = {key: torch.from_numpy(value).float() for key, value in windows.take(np.arange(4)).items()}
        batch["random"] = torch.full((4, surrogate.num_random), 0.5)
        losses.append(torch.stack(list(data.surrogate(batch).values())).sum().item())
    assert losses[1] == pytest.approx(losses[0], rel=0.9)


def test_adapters_are_trained_on_two_grids(
    dataset: Path, undisturbed_model: Path, on_both: str, tmp_path: Path
) -> None:
    start = (f"training.start_from={undisturbed_model}", "training.adapter_rank=2", "model=tuned")
    model = train_model(tmp_path, dataset, on_both, *start)
    errors = [store.description(folder)["valid_error"] for folder in (model, undisturbed_model)]
    assert errors[0] < 1.02 * errors[1]


def test_the_batches_of_one_data_set_follow_each_other() -> None:
    orders = [BatchOrder(20, 4, 0, 0, 1, interval=interval) for interval in (1, 3)]
    for step in range(9):
        assert (orders[1].global_batch(step) == orders[0].global_batch(step // 3)).all()


def test_data_sets_and_options_that_do_not_fit_are_refused(
    dataset: Path, on_both: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"has 24 cells, as another data set of this training"):
        train_model(tmp_path / "a", dataset, f"training.other_grids=[{dataset}]")
    unlike = generate_dataset(tmp_path / "data", "solver.resolution=36", "output.steps=3", SAMPLES)
    with pytest.raises(UserError, match=r"does not fit the others: time_step: the model has 0.01"):
        train_model(tmp_path / "b", dataset, f"training.other_grids=[{unlike}]")
    problem = problems.grid_problem((20,), ("periodic",))
    for name, overrides, message in (
        ("unet", (), r"weights that do not depend on the grid.*Type surrogate="),
        ("fno", ("training.compile=true",), r"compile=True works on one grid.*Type training.compile=false"),
        ("fno", ("training.finish.method=lbfgs",), r"finish.method=lbfgs works on one grid"),
    ):
        options = read_settings(*tiny_arguments(tmp_path, dataset, on_both, *overrides)).training
        with pytest.raises(UserError, match=message):
            option_checks.check(store.build(name, problems.options(name), problem, "float32"), options)
