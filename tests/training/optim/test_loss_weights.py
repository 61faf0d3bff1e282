"""Weights that balance the gradients of losses: their formula, their log, their limits and their use."""

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
from tests.support.training_cases import generate_dataset, read

ALONE = Ranks(0, 1, torch.device("cpu"), {"here": 1})
PROBLEM = problems.fading()
#: A bar whose conductivity and two amplitudes tell all, and a small network for it.
BAR = (
    "solver.boundary.x=dirichlet",
    "solver.diffusivity.kind=constant",
    "solver.initial.kind=harmonics",
    "solver.initial.count=2",
)
SMALL = (
    "surrogate=pinn",
    "surrogate.width=16",
    "surrogate.layers=2",
    "surrogate.points=32",
    "training.batch_size=4",
    "training.learning_rate=5e-3",
    "training.device=cpu",
)


def built(name: str, **options: Any) -> Surrogate:
    torch.manual_seed(0)
    return store.build(name, problems.options(name) | options, PROBLEM, "float64")


def random_batch(surrogate: Surrogate, size: int) -> Batch:
    return problems.batch(surrogate.problem, size, dtype=torch.float64, num_random=surrogate.num_random)


def balanced(surrogate: Surrogate, micro_batches: list[Batch], weights: dict[str, float]) -> dict[str, float]:
    """Return the weights of the losses after one update."""
    settings = read(f"training.gradient_accumulation_steps={len(micro_batches)}", "training.balance_every=1")
    state = TrainState(surrogate, torch.optim.AdamW(surrogate.parameters()), loss_weights=dict(weights))
    balance(state, micro_batches, settings.training, ALONE)
    assert all(weight.grad is None for weight in surrogate.parameters())
    return state.loss_weights


@pytest.mark.parametrize("name", ["pinn", "pi_deeponet"])
def test_weights_move_towards_equal_gradient_norms(name: str) -> None:
    surrogate = built(name)
    whole = random_batch(surrogate, 4)
    assert surrogate.losses == ("residual_temperature", "residual_pressure", "data")
    norms = {}
    for loss_name in surrogate.losses:
        surrogate.zero_grad()
        surrogate(whole)[loss_name].backward()
        squares = [weight.grad.square().sum() for weight in surrogate.parameters() if weight.grad is not None]
        norms[loss_name] = torch.stack(squares).sum().sqrt().item()
    surrogate.zero_grad()
    before = dict(zip(surrogate.losses, (1.0, 2.0, 3.0), strict=True))
    mean = sum(norms.values()) / 3
    expected = {key: 0.9 * before[key] + 0.1 * mean / norm for key, norm in norms.items()}
    assert balanced(surrogate, [whole], before) == pytest.approx(expected, rel=1e-10)
    halves: Any = [{key: value[half] for key, value in whole.items()} for half in (slice(0, 2), slice(2, 4))]
    assert balanced(surrogate, halves, before) == pytest.approx(expected, rel=1e-10)


def test_weights_stay_for_a_loss_without_gradient_and_for_a_loss_that_is_not_finite() -> None:
    surrogate = built("pinn")
    batch = random_batch(surrogate, 2)
    even = dict.fromkeys(surrogate.losses, 1.0)
    poisoned = batch | {"state": torch.full_like(batch["state"], torch.nan)}
    assert balanced(surrogate, [poisoned], even) == even  # type: ignore[list-item]
    with torch.no_grad():
        for weight in surrogate.parameters():
            weight.zero_()
    still = batch | {"state": batch["state"][:, :1].expand_as(batch["state"])}
    weights = balanced(surrogate, [still], even)  # type: ignore[list-item]
    assert weights["data"] == 1.0
    assert weights["residual_temperature"] != 1.0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("surrogate=fno",), "FNO has rollout alone"),
        (("surrogate=pinn", "surrogate.data_weight=0"), "PINN has residual_heat alone"),
    ],
)
def test_one_loss_alone_is_refused_before_work_starts(
    overrides: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    settings = read("experiment=heat_parametric", f"run={tmp_path}", "training.balance_every=10", *overrides)
    with pytest.raises(ValueError, match=rf"balance_every=10 .*{message} .*Set training\.balance_every=0"):
        chain.check(settings)


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of bars whose parameters determine the initial condition."""
    return generate_dataset(tmp_path_factory.mktemp("bars"), *BAR)


def learned(folder: Path, bars: Path, *overrides: str) -> Path:
    """Return the model folder after a training of a PINN."""
    settings = read(f"run={folder}", f"dataset={bars}", *SMALL, *overrides)
    train.run(settings)
    return RunFolder.of(settings).model_folder


def log_of(folder: Path) -> list[dict[str, float]]:
    with (folder / "log.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def test_the_log_has_the_weights_and_the_loss_without_them(bars: Path, tmp_path: Path) -> None:
    """Weights that change once, in the first step, change the later losses and not the first one."""
    options = ("training.steps=3", "training.validate_every=1", "training.precision=float64")
    plain_log = log_of(learned(tmp_path / "free", bars, *options))
    balanced_log = log_of(learned(tmp_path / "held", bars, *options, "training.balance_every=3"))
    weights = [
        {key: value for key, value in row.items() if key.startswith("weight_")} for row in balanced_log
    ]
    assert list(weights[0]) == ["weight_residual_heat", "weight_data"]
    assert weights[0] == weights[1] == weights[2]
    assert 1.0 not in weights[0].values()
    assert balanced_log[0]["train_loss"] == pytest.approx(plain_log[0]["train_loss"], rel=1e-12)
    assert balanced_log[2]["train_loss"] != plain_log[2]["train_loss"]


def test_balanced_losses_repair_a_data_weight_that_is_far_too_large(bars: Path, tmp_path: Path) -> None:
    """With a data weight of 1e4 the network learns from twelve bars alone, not from the equation."""
    options = ("training.steps=400", "training.validate_every=400", "surrogate.data_weight=1e4")
    plain, balanced_model = (
        store.description(learned(tmp_path / str(every), bars, *options, f"training.balance_every={every}"))
        for every in (0, 20)
    )
    assert balanced_model["valid_error"] < 0.7 * plain["valid_error"]
