"""Weights that balance the gradients of losses: formula, log, limits and benefit."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline import chain, train
from pipeline.parallel.ranks import Ranks
from pipeline.runs.folder import RunFolder
from pipeline.training.optim.loss_weights import balance
from pipeline.training.train_state import TrainState
from surrogates import store
from surrogates.contract import Batch, Surrogate
from tests.support import problems
from tests.support.trainings.training_cases import generate_dataset, read_settings

SINGLE_RANK = Ranks(0, 1, torch.device("cpu"), {"here": 1})
FADING_PROBLEM = problems.fading_problem()
#: A bar that is fully determined by its conductivity and two amplitudes.
BAR_DATASET = (
    "solver.boundary.x=dirichlet",
    "solver.diffusivity.kind=constant",
    "solver.initial.kind=harmonics",
    "solver.initial.count=2",
)
SMALL_TRAINING = (
    "surrogate=pinn",
    "surrogate.width=16",
    "surrogate.layers=2",
    "surrogate.points=32",
    "training.batch_size=4",
    "training.learning_rate=5e-3",
    "training.device=cpu",
)


def build_surrogate(name: str, **options: Any) -> Surrogate:
    torch.manual_seed(0)
    return store.build(name, problems.options(name) | options, FADING_PROBLEM, "float64")


def random_batch(surrogate: Surrogate, size: int) -> Batch:
    return problems.batch(surrogate.problem, size, dtype=torch.float64, num_random=surrogate.num_random)


def updated_weights(
    surrogate: Surrogate, micro_batches: list[Batch], weights: dict[str, float]
) -> dict[str, float]:
    """Return the weights of the losses after an update."""
    settings = read_settings(
        f"training.gradient_accumulation_steps={len(micro_batches)}", "training.balance_every=1"
    )
    state = TrainState(surrogate, torch.optim.AdamW(surrogate.parameters()), loss_weights=dict(weights))
    balance(state, micro_batches, settings.training, SINGLE_RANK)
    assert all(weight.grad is None for weight in surrogate.parameters())
    return state.loss_weights


@pytest.mark.parametrize("name", ["pinn", "pi_deeponet"])
def test_weights_move_towards_equal_gradient_norms(name: str) -> None:
    surrogate = build_surrogate(name)
    whole_batch = random_batch(surrogate, 4)
    assert surrogate.losses == ("residual_temperature", "residual_pressure", "data")
    norms = {}
    for loss_name in surrogate.losses:
        surrogate.zero_grad()
        surrogate(whole_batch)[loss_name].backward()
        squares = [weight.grad.square().sum() for weight in surrogate.parameters() if weight.grad is not None]
        norms[loss_name] = torch.stack(squares).sum().sqrt().item()
    surrogate.zero_grad()
    initial_weights = dict(zip(surrogate.losses, (1.0, 2.0, 3.0), strict=True))
    mean_norm = sum(norms.values()) / 3
    expected = {key: 0.9 * initial_weights[key] + 0.1 * mean_norm / norm for key, norm in norms.items()}
    assert updated_weights(surrogate, [whole_batch], initial_weights) == pytest.approx(expected, rel=1e-10)
    halves: Any = [
        {key: value[half] for key, value in whole_batch.items()} for half in (slice(0, 2), slice(2, 4))
    ]
    assert updated_weights(surrogate, halves, initial_weights) == pytest.approx(expected, rel=1e-10)


def test_a_loss_without_a_finite_gradient_keeps_its_weight() -> None:
    surrogate = build_surrogate("pinn")
    batch = random_batch(surrogate, 2)
    equal_weights = dict.fromkeys(surrogate.losses, 1.0)
    batch_with_nan = batch | {"state": torch.full_like(batch["state"], torch.nan)}
    assert updated_weights(surrogate, [batch_with_nan], equal_weights) == equal_weights  # type: ignore[list-item]
    with torch.no_grad():
        for weight in surrogate.parameters():
            weight.zero_()
    steady_batch = batch | {"state": batch["state"][:, :1].expand_as(batch["state"])}
    weights = updated_weights(surrogate, [steady_batch], equal_weights)  # type: ignore[list-item]
    assert weights["data"] == 1.0
    assert weights["residual_temperature"] != 1.0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("surrogate=fno",), "FNO has rollout alone"),
        (("surrogate=pinn", "surrogate.data_weight=0"), "PINN has residual_heat alone"),
    ],
)
def test_balancing_of_a_single_loss_is_refused_before_work_starts(
    overrides: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    settings = read_settings(
        "experiment=heat_parametric", f"run={tmp_path}", "training.balance_every=10", *overrides
    )
    with pytest.raises(ValueError, match=rf"balance_every=10 .*{message} .*Set training\.balance_every=0"):
        chain.check(settings)


@pytest.fixture(scope="module")
def bar_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data set of bars that are fully determined by their scalar parameters."""
    return generate_dataset(tmp_path_factory.mktemp("bars"), *BAR_DATASET)


def train_pinn(folder: Path, bar_dataset: Path, *overrides: str) -> Path:
    """Train a PINN (physics-informed neural network), and return its model folder."""
    settings = read_settings(f"run={folder}", f"dataset={bar_dataset}", *SMALL_TRAINING, *overrides)
    train.run(settings)
    return RunFolder.of(settings).model_folder


def log_of(folder: Path) -> list[dict[str, float]]:
    with (folder / "log.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def test_the_log_has_the_weights_and_the_unweighted_loss(bar_dataset: Path, tmp_path: Path) -> None:
    # The weights change once, in the first step, and affect only the later losses.
    options = ("training.steps=3", "training.validate_every=1", "training.precision=float64")
    plain_log = log_of(train_pinn(tmp_path / "plain", bar_dataset, *options))
    balanced_log = log_of(
        train_pinn(tmp_path / "balanced", bar_dataset, *options, "training.balance_every=3")
    )
    weights = [
        {key: value for key, value in row.items() if key.startswith("weight_")} for row in balanced_log
    ]
    assert list(weights[0]) == ["weight_residual_heat", "weight_data"]
    assert weights[0] == weights[1] == weights[2]
    assert 1.0 not in weights[0].values()
    assert balanced_log[0]["train_loss"] == pytest.approx(plain_log[0]["train_loss"], rel=1e-12)
    assert balanced_log[2]["train_loss"] != plain_log[2]["train_loss"]


def test_balanced_losses_compensate_a_large_data_weight(bar_dataset: Path, tmp_path: Path) -> None:
    # With a data weight of 1e4 the network learns only from twelve bars and not from the equation.
    options = ("training.steps=400", "training.validate_every=400", "surrogate.data_weight=1e4")
    plain_model, balanced_model = (
        store.description(
            train_pinn(tmp_path / str(interval), bar_dataset, *options, f"training.balance_every={interval}")
        )
        for interval in (0, 20)
    )
    assert balanced_model["valid_error"] < 0.7 * plain_model["valid_error"]
