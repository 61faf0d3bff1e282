"""Options of training: schedules, noise, averaged weights and accumulated gradients."""

from __future__ import annotations

import csv
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import surrogates
from pipeline import chain
from pipeline.training import checkpoint, option_checks
from pipeline.training.batches.augment import with_noise
from pipeline.training.batches.order import BatchOrder
from pipeline.training.learning_rate import learning_rate
from pipeline.training.optim.ema import moving_average
from surrogates import store
from surrogates.contract import surrogate_names
from tests.support import problems
from tests.support.trainings.training_cases import read_settings, tiny_arguments, train_model, train_together

EXACT_TRAINING = (
    "training.schedule=linear",
    "training.noise=0.05",
    "training.ema=0.9",
    "training.gradient_accumulation_steps=2",
    "training.unroll=2",
    "training.precision=float64",
)


def test_one_and_two_ranks_train_the_same_weights(dataset: Path, tmp_path: Path) -> None:
    # The noise, the averages and the gradients are the same to round-off.
    # The ranks exchange gradients once per step, although each rank computes two micro-batches.
    model_of_one_rank = train_model(tmp_path / "one", dataset, *EXACT_TRAINING)
    result = train_together(
        tmp_path / "runs.json", [tiny_arguments(tmp_path / "two", dataset, *EXACT_TRAINING)]
    )
    lines = [line for line in result.stdout.splitlines() if line.startswith("allreduces")]
    assert lines == ["allreduces 30", "allreduces 30"]
    assert_same_weights(tmp_path / "two" / "models" / "fno", model_of_one_rank)
    for folder, is_measured in ((model_of_one_rank, False), (tmp_path / "two" / "models" / "fno", True)):
        rows = list(csv.DictReader((folder / "timing.csv").open()))
        shares = [float(row["communication_share"]) for row in rows]
        assert all((0 < share < 1) if is_measured else share == 0 for share in shares)


def test_accumulated_gradients_train_the_same_weights_as_the_whole_batch(
    dataset: Path, tmp_path: Path
) -> None:
    folders = [
        train_model(
            tmp_path / str(count),
            dataset,
            "training.precision=float64",
            f"training.gradient_accumulation_steps={count}",
        )
        for count in (4, 1)
    ]
    assert_same_weights(*folders)


def assert_same_weights(model: Path, other_model: Path) -> None:
    weights, expected = (
        safetensors.torch.load_file(folder / "model.safetensors") for folder in (model, other_model)
    )
    for name, weight in expected.items():
        torch.testing.assert_close(weights[name], weight, rtol=1e-8, atol=1e-10)


def test_micro_batches_that_do_not_divide_a_share_are_refused() -> None:
    with pytest.raises(ValueError, match=r"8 windows on each of 2 ranks.*steps=3.*one of 1, 2, 4, 8"):
        BatchOrder(25, 16, seed=0, rank=0, size=2, num_micro_batches=3)


@pytest.mark.parametrize("size", [1, 2])
def test_micro_batches_cover_the_share_of_a_rank(size: int) -> None:
    orders = [BatchOrder(25, 12, seed=3, rank=rank, size=size, num_micro_batches=3) for rank in range(size)]
    micro_batches = [micro_batch for order in orders for micro_batch in order.micro_batches(4)]
    assert [len(positions) for positions, _ in micro_batches] == [12 // size // 3] * (3 * size)
    assert np.concatenate([positions for positions, _ in micro_batches]).tolist() == list(range(12))
    windows = np.concatenate([windows for _, windows in micro_batches])
    assert windows.tolist() == orders[0].global_batch(4).tolist()


def test_noise_is_added_to_the_first_frame_in_standard_deviations() -> None:
    problem = problems.grid_problem((40, 50), ("periodic", "periodic"))
    batch = problems.batch(problem, size=6, dtype=torch.float64)
    noisy_batch = with_noise(batch, problem, 0.03, seed=1, step=2, positions=np.arange(6))
    difference = noisy_batch["state"] - batch["state"]
    assert torch.equal(noisy_batch["state"][:, 1:], batch["state"][:, 1:])
    std = difference[:, 0].std(dim=(0, 2, 3)) / torch.tensor(problem.statistics.std)
    # The standard deviation of 12 000 samples has a relative error of 0.6 %.
    torch.testing.assert_close(std, torch.full((2,), 0.03, dtype=torch.float64), rtol=0.03, atol=0)
    batch_of_next_step = with_noise(batch, problem, 0.03, seed=1, step=3, positions=np.arange(6))
    assert not torch.equal(batch_of_next_step["state"], noisy_batch["state"])


@pytest.mark.parametrize("name", surrogate_names())
def test_options_that_do_not_suit_a_surrogate_are_refused(name: str) -> None:
    # Noise on an unused state and bfloat16 for the residual of an equation are refused.
    problem = problems.learnable_problem(name)
    surrogate = store.build(name, problems.options(name), problem, "float32")
    for option, is_allowed, message in (
        ("noise=0.1", surrogate.uses_initial_state, r"training\.noise=0\.1 .* Set training\.noise=0"),
        ("precision=bfloat16", not surrogate.physics_informed, "too few for the equation's residual"),
    ):
        with nullcontext() if is_allowed else pytest.raises(ValueError, match=message):
            option_checks.check(surrogate, read_settings(f"training.{option}").training)


def test_noise_on_an_unused_state_is_refused_before_work_starts(tmp_path: Path) -> None:
    options = (
        "experiment=heat_parametric", "surrogate=pinn", "training.noise=0.1", "training.finish.method=none",
        "training.finish.steps=10", "training.finish.iterations=100",
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"PINN .* Set training\.noise=0"):
        chain.check(read_settings(f"run={tmp_path}", *options))


def test_the_noise_of_a_window_does_not_depend_on_the_ranks() -> None:
    problem = problems.grid_problem((20,), ("periodic",))
    batch = problems.batch(problem, size=4)
    noisy_batch = with_noise(batch, problem, 0.1, seed=1, step=2, positions=np.arange(4))
    half_batch = {name: tensor[2:] for name, tensor in batch.items()}
    noisy_half = with_noise(half_batch, problem, 0.1, seed=1, step=2, positions=np.array([2, 3]))  # type: ignore[arg-type]
    assert torch.equal(noisy_half["state"], noisy_batch["state"][2:])


def test_the_moving_average_follows_its_formula() -> None:
    problem = problems.grid_problem((20,), ("periodic",))
    surrogate = store.build("fno", problems.options("fno"), problem, "float64")
    average = moving_average(surrogate, 0.7)
    assert average is not None
    expected = None
    for update in range(12):
        with torch.no_grad():
            for weight in surrogate.parameters():
                weight.add_(torch.randn_like(weight))
        average.update_parameters(surrogate)
        weights = torch.nn.utils.parameters_to_vector(surrogate.parameters()).detach()
        decay = min(0.7, (1 + update) / (10 + update))
        expected = weights.clone() if expected is None else decay * expected + (1 - decay) * weights
    averaged_weights = torch.nn.utils.parameters_to_vector(average.module.parameters())
    torch.testing.assert_close(averaged_weights, expected, rtol=1e-12, atol=1e-12)


def test_averaged_weights_are_validated_and_saved(dataset: Path, tmp_path: Path) -> None:
    folder = train_model(tmp_path, dataset, "training.ema=0.9", "training.validate_every=30")
    newest_checkpoint = checkpoint.load(checkpoint.paths(folder / "checkpoints")[-1])
    for name, weight in surrogates.load(folder).state_dict().items():
        assert torch.equal(weight, newest_checkpoint.tensors[f"average.module.{name}"])
        assert not torch.equal(weight, newest_checkpoint.tensors[f"weights.{name}"])


@pytest.mark.parametrize(
    ("schedule", "middle_rate", "final_rate"),
    [("cosine", 0.5, 0.0), ("linear", 0.5, 0.0), ("constant", 1.0, 1.0)],
)
def test_the_learning_rate_warms_up_and_follows_its_schedule(
    schedule: str, middle_rate: float, final_rate: float
) -> None:
    overrides = ("training.steps=100", "training.warmup_steps=10", "training.learning_rate=1")
    options = read_settings(*overrides, f"training.schedule={schedule}").training
    rates = [learning_rate(step, options) for step in range(101)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[10] == 1
    assert rates[55] == pytest.approx(middle_rate)
    assert rates[100] == final_rate
    assert rates[10:] == sorted(rates[10:], reverse=True)
