"""Second-order steps after AdamW: convergence, equality across micro-batches and ranks, and refusals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline import chain
from pipeline.parallel.ranks import Ranks
from pipeline.training.optim import levenberg_marquardt, second_order
from pipeline.training.optim.lbfgs import lbfgs
from pipeline.training.train_state import TrainState
from surrogates import store
from surrogates.contract import Batch, Prediction, Surrogate
from tests.support import problems
from tests.support.launching import forked_mpi_command, require_success, run
from tests.support.trainings.training_cases import read_settings, train_model

SINGLE_RANK = Ranks(0, 1, torch.device("cpu"), {"here": 1})
PROBLEM = problems.grid_problem((20,), ("periodic",))
EXACT_TRAINING = ("training.precision=float64", "training.batch_size=4")


class Rosenbrock(Surrogate):
    """r = (10 (y - x²), 1 - x) from (-1.2, 1) in each row of a batch, with the minimum 0 at (1, 1).

    Source: More, Garbow & Hillstrom 1981 (doi:10.1145/355934.355936), problem 1.
    """

    def __init__(self) -> None:
        super().__init__(PROBLEM)
        self.x = torch.nn.Parameter(torch.tensor(-1.2, dtype=torch.float64))
        self.y = torch.nn.Parameter(torch.tensor([1.0], dtype=torch.float64))

    def points(self, batch: Batch) -> dict[str, torch.Tensor]:
        return {"scale": torch.ones(len(batch["state"]), dtype=torch.float64)}

    def residuals(self, points: Mapping[str, torch.Tensor]) -> torch.Tensor:
        row = torch.stack([10 * (self.y[0] - self.x**2), 1 - self.x])
        return points["scale"][:, None] * row

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        return {"residual": self.residuals(self.points(batch)).square().mean()}

    def no_jacobian(self) -> None:
        return None

    def _predict(self, initial_state: Any, parameters: Any, times: Any) -> Prediction:
        raise NotImplementedError


class Curve(Surrogate):
    """A perceptron of one input, whose residuals are the differences from sin(πx) at random points."""

    def __init__(self) -> None:
        super().__init__(PROBLEM)
        torch.manual_seed(0)
        dtype_option = {"dtype": torch.float64}
        self.network = torch.nn.Sequential(
            torch.nn.Linear(1, 12, **dtype_option), torch.nn.Tanh(), torch.nn.Linear(12, 1, **dtype_option)
        )

    def points(self, batch: Batch) -> dict[str, torch.Tensor]:
        return {"x": batch["state"].flatten()[:60, None].double() % 2 - 1}

    def residuals(self, points: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return self.network(points["x"]) - torch.sin(torch.pi * points["x"])

    forward, no_jacobian, _predict = Rosenbrock.forward, Rosenbrock.no_jacobian, Rosenbrock._predict


def options(method: str, iterations: int, *overrides: str) -> Any:
    finish = f"training.finish={{method: {method}, steps: 1, iterations: {iterations}}}"
    return read_settings(finish, *EXACT_TRAINING, *overrides).training


def state_of(surrogate: Surrogate) -> TrainState:
    return TrainState(surrogate, torch.optim.AdamW(surrogate.parameters()))


@pytest.mark.parametrize(("method", "iterations"), [("levenberg_marquardt", 40), ("lbfgs", 60)])
def test_each_method_reaches_the_minimum_of_rosenbrock(method: str, iterations: int) -> None:
    surrogate = Rosenbrock()
    state = state_of(surrogate)
    micro_batches = [problems.batch(PROBLEM, 3, dtype=torch.float64)]
    loss, norm = second_order.METHODS[method](
        surrogate, micro_batches, state, options(method, iterations), SINGLE_RANK
    )
    # The published initial value 24.2 is the sum over two residuals, and the loss is the mean.
    assert loss == pytest.approx(12.1)
    assert norm == pytest.approx(232.867687754227 / 2)
    minimum = [surrogate.x.item(), surrogate.y.item()]
    assert minimum == pytest.approx([1, 1], abs=1e-10)
    assert (state.step, state.skipped_steps) == (1, [])


def test_levenberg_marquardt_fits_a_curve_with_twelve_hidden_units() -> None:
    surrogate, batch = Curve(), problems.batch(PROBLEM, 4)
    loss_before = surrogate(batch)["residual"].item()
    state = state_of(surrogate)
    levenberg_marquardt.levenberg_marquardt(
        surrogate, [batch], state, options("levenberg_marquardt", 150), SINGLE_RANK
    )
    assert surrogate(batch)["residual"].item() < 1e-9 * loss_before


@pytest.mark.parametrize("num_bytes", [8, 64 * 2**20])
def test_the_normal_equations_equal_the_equations_by_reverse_mode(
    num_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The smaller memory holds one row of the Jacobian at a time.
    monkeypatch.setattr(levenberg_marquardt, "_JACOBIAN_BYTES", num_bytes)
    surrogate, batch = Curve(), problems.batch(PROBLEM, 4)
    points = surrogate.points(batch)
    equations = levenberg_marquardt._normal_equations(surrogate, [points], SINGLE_RANK)
    residuals = surrogate.residuals(points)[:, 0]
    rows = [
        torch.cat(
            [
                gradient.flatten()
                for gradient in torch.autograd.grad(residual, surrogate.parameters(), retain_graph=True)
            ]
        )
        for residual in residuals
    ]
    jacobian = torch.stack(rows)
    torch.testing.assert_close(equations.matrix, jacobian.T @ jacobian / 60, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(equations.gradient, jacobian.T @ residuals / 60, rtol=1e-12, atol=1e-14)
    assert equations.loss == pytest.approx(surrogate(batch)["residual"].item(), rel=1e-12)


@pytest.mark.parametrize("method", ["levenberg_marquardt", "lbfgs"])
def test_a_loss_that_is_not_finite_does_not_change_the_weights(method: str) -> None:
    surrogate, batch = Curve(), problems.batch(PROBLEM, 4)
    batch["state"][0] = np.nan
    weights_before = {name: weight.clone() for name, weight in surrogate.state_dict().items()}
    state = state_of(surrogate)
    _, norm = second_order.METHODS[method](surrogate, [batch], state, options(method, 5), SINGLE_RANK)
    assert np.isnan(norm)
    assert (state.step, state.skipped_steps) == (1, [1])
    assert all(torch.equal(weight, weights_before[name]) for name, weight in surrogate.state_dict().items())


def test_lbfgs_with_micro_batches_equals_lbfgs_with_the_whole_batch() -> None:
    whole_batch = problems.batch(PROBLEM, 4, dtype=torch.float64)
    halves = [{key: value[half] for key, value in whole_batch.items()} for half in (slice(0, 2), slice(2, 4))]
    results = []
    for micro_batches, count in (([whole_batch], 1), (halves, 2)):
        surrogate = store.build("fno", problems.options("fno"), PROBLEM, "float64")
        with torch.no_grad():
            for index, weight in enumerate(surrogate.parameters()):
                generator = torch.Generator().manual_seed(index)
                weight.copy_(0.1 * torch.randn(weight.shape, generator=generator, dtype=torch.float64))
        settings = options("lbfgs", 5, f"training.gradient_accumulation_steps={count}")
        loss, _ = lbfgs(surrogate, micro_batches, state_of(surrogate), settings, SINGLE_RANK)
        final_loss = sum(surrogate(whole_batch).values()).item()  # type: ignore[union-attr]
        results.append((loss, final_loss))
        assert final_loss < loss
    assert results[0] == pytest.approx(results[1], rel=1e-9)


def test_ranks_that_round_differently_take_the_same_steps() -> None:
    result = require_success(run(forked_mpi_command(2, "-m", "tests.faults.train_unlike_ranks"), timeout=60))
    first_hash, second_hash = result.stdout.splitlines()
    assert first_hash == second_hash


def test_second_order_steps_continue_from_the_last_step_of_adamw(dataset: Path, tmp_path: Path) -> None:
    # Each second-order step on a batch of all windows lowers the loss.
    options = ("training.steps=10", "training.batch_size=72", "training.validate_every=1")
    folder = train_model(
        tmp_path, dataset, *options, "training.finish={method: lbfgs, steps: 4, iterations: 10}"
    )
    rows = np.loadtxt(folder / "log.csv", delimiter=",", skiprows=1)
    assert rows[:, 0].tolist() == list(range(1, 15))
    assert (np.diff(rows[10:, 2]) < 0).all()
    assert (rows[10:, 1] == 0).all()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("training.finish.method=levenberg_marquardt",), "needs residuals to square, and FNO has none"),
        (("training.finish.method=lbfgs", "training.ema=0.9"), "Set training.ema=0"),
        (("training.finish.method=lbfgs", "training.precision=bfloat16"), "too coarse|no bfloat16"),
    ],
)
def test_options_that_cannot_work_together_are_refused(
    overrides: tuple[str, ...], message: str, dataset: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        train_model(tmp_path, dataset, *overrides)


def test_a_chain_refuses_the_method_before_it_generates_data(tmp_path: Path) -> None:
    settings = read_settings(f"run={tmp_path}", "training.finish.method=levenberg_marquardt")
    with pytest.raises(ValueError, match="needs residuals to square, and FNO has none"):
        chain.check(settings)


@pytest.mark.parametrize(
    ("width", "precision", "message"),
    [(12, "float32", "precision=float64"), (2000, "float64", "has 6001. At most 4096 weights")],
)
def test_levenberg_marquardt_needs_few_weights_in_float64(width: int, precision: str, message: str) -> None:
    surrogate = Curve()
    surrogate.network = torch.nn.Sequential(torch.nn.Linear(1, width), torch.nn.Linear(width, 1))
    settings = options("levenberg_marquardt", 5, f"training.precision={precision}")
    with pytest.raises(ValueError, match=message):
        second_order.check(surrogate, settings)
