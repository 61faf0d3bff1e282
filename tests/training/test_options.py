"""Ways of training: schedules, noise, averaged weights, accumulated gradients; exact on ranks and resume."""

from __future__ import annotations

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
from tests.support.launching import mpi, run, stage, succeeded
from tests.support.training_cases import TINY, made_dataset, read, same, trained

ALL = (
    "training.schedule=linear",
    "training.noise=0.05",
    "training.ema=0.9",
    "training.gradient_accumulation_steps=2",
    "training.unroll=2",
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_dataset(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("ranks", [1, 2])
def test_killed_and_resumed_gives_the_same_bits(ranks: int, dataset: Path, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("killed", "straight")]
    killed, straight = ([f"run={folder}", f"dataset={dataset}", *TINY, *ALL] for folder in folders)
    assert run(mpi(ranks, "-m", "tests.faults.train_killed", *killed), KILL_AT_STEP="18").returncode != 0
    for arguments in (killed, straight):
        succeeded(stage("train", *arguments, ranks=ranks))
    assert same(folders[0] / "models" / "fno", folders[1] / "models" / "fno")


def test_two_ranks_train_what_one_trains(dataset: Path, tmp_path: Path) -> None:
    """The same noise, averages and gradients, to round-off."""
    exact = (*ALL, "training.precision=float64")
    one = trained(tmp_path / "one", dataset, *exact)
    succeeded(stage("train", f"run={tmp_path / 'two'}", f"dataset={dataset}", *TINY, *exact, ranks=2))
    ours, theirs = (
        safetensors.torch.load_file(folder / "model.safetensors")
        for folder in (one, tmp_path / "two" / "models" / "fno")
    )
    for name, weight in ours.items():
        torch.testing.assert_close(theirs[name], weight, rtol=1e-8, atol=1e-10)


def test_accumulated_gradients_train_what_the_whole_batch_trains(dataset: Path, tmp_path: Path) -> None:
    ours, theirs = (
        safetensors.torch.load_file(
            trained(
                tmp_path / str(count),
                dataset,
                "training.precision=float64",
                f"training.gradient_accumulation_steps={count}",
            )
            / "model.safetensors"
        )
        for count in (4, 1)
    )
    for name, weight in ours.items():
        torch.testing.assert_close(theirs[name], weight, rtol=1e-8, atol=1e-10)


def test_ranks_exchange_gradients_once_a_step() -> None:
    """Four parts a step, over three steps."""
    lines = succeeded(run(mpi(2, "-m", "tests.faults.train_allreduces"))).stdout.splitlines()
    assert lines == ["3 exchanges", "3 exchanges"]


def test_parts_that_do_not_divide_a_share_are_refused() -> None:
    with pytest.raises(ValueError, match=r"8 windows on each of 2 ranks.*steps=3.*one of 1, 2, 4, 8"):
        BatchOrder(25, 16, seed=0, rank=0, size=2, num_micro_batches=3)


@pytest.mark.parametrize("size", [1, 2])
def test_parts_make_up_the_share_of_a_rank(size: int) -> None:
    batches = [BatchOrder(25, 12, seed=3, rank=rank, size=size, num_micro_batches=3) for rank in range(size)]
    parts = [part for each in batches for part in each.micro_batches(4)]
    assert [len(places) for places, _ in parts] == [12 // size // 3] * (3 * size)
    assert np.concatenate([places for places, _ in parts]).tolist() == list(range(12))
    assert np.concatenate([windows for _, windows in parts]).tolist() == batches[0].global_batch(4).tolist()


def test_noise_is_on_the_given_frame_in_standard_deviations() -> None:
    problem = problems.problem((40, 50), ("periodic", "periodic"))
    batch = problems.batch(problem, size=6, dtype=torch.float64)
    noisy = with_noise(batch, problem, 0.03, seed=1, step=2, places=np.arange(6))
    difference = noisy["state"] - batch["state"]
    assert torch.equal(noisy["state"][:, 1:], batch["state"][:, 1:])
    spread = difference[:, 0].std(dim=(0, 2, 3)) / torch.tensor(problem.statistics.std)
    # 12 000 draws: the spread of a sample's spread is 0.6 %.
    torch.testing.assert_close(spread, torch.full((2,), 0.03, dtype=torch.float64), rtol=0.03, atol=0)
    later = with_noise(batch, problem, 0.03, seed=1, step=3, places=np.arange(6))
    assert not torch.equal(later["state"], noisy["state"])


@pytest.mark.parametrize("name", surrogate_names())
def test_what_a_surrogate_could_not_learn_with_is_refused(name: str) -> None:
    """Noise on a state that it does not see, and an equation's residual of 3 digits."""
    problem = problems.learnable_problem(name)
    surrogate = store.build(name, problems.options(name), problem, "float32")
    for given, suits, said in (
        ("noise=0.1", surrogate.uses_initial_state, r"training\.noise=0\.1 .* set training\.noise=0"),
        ("precision=bfloat16", not surrogate.physics_informed, "too few for the equation's residual"),
    ):
        with nullcontext() if suits else pytest.raises(ValueError, match=said):
            option_checks.check(surrogate, read(f"training.{given}").training)


def test_noise_that_would_not_be_seen_is_refused_before_work_starts(tmp_path: Path) -> None:
    given = (
        "experiment=heat_parametric", "surrogate=pinn", "training.noise=0.1", "training.finish.method=none",
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"PINN .* set training\.noise=0"):
        chain.check(read(f"run={tmp_path}", *given))


def test_the_noise_of_a_window_does_not_depend_on_the_ranks() -> None:
    problem = problems.problem((20,), ("periodic",))
    batch = problems.batch(problem, size=4)
    whole = with_noise(batch, problem, 0.1, seed=1, step=2, places=np.arange(4))
    half = {name: tensor[2:] for name, tensor in batch.items()}
    mine = with_noise(half, problem, 0.1, seed=1, step=2, places=np.array([2, 3]))  # type: ignore[arg-type]
    assert torch.equal(mine["state"], whole["state"][2:])


def test_the_average_follows_the_weights_as_its_formula_says() -> None:
    problem = problems.problem((20,), ("periodic",))
    surrogate = store.build("fno", problems.options("fno"), problem, "float64")
    average = moving_average(surrogate, 0.7)
    assert average is not None
    expected = None
    for number in range(12):
        with torch.no_grad():
            for weight in surrogate.parameters():
                weight.add_(torch.randn_like(weight))
        average.update_parameters(surrogate)
        weights = torch.nn.utils.parameters_to_vector(surrogate.parameters()).detach()
        decay = min(0.7, (1 + number) / (10 + number))
        expected = weights.clone() if expected is None else decay * expected + (1 - decay) * weights
    found = torch.nn.utils.parameters_to_vector(average.module.parameters())
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_averaged_weights_are_validated_and_saved(dataset: Path, tmp_path: Path) -> None:
    folder = trained(tmp_path, dataset, "training.ema=0.9", "training.validate_every=30")
    last = checkpoint.load(checkpoint.paths(folder / "checkpoints")[-1])
    saved = surrogates.load(folder).state_dict()
    for name, weight in saved.items():
        assert torch.equal(weight, last.tensors[f"average.module.{name}"])
        assert not torch.equal(weight, last.tensors[f"weights.{name}"])


@pytest.mark.parametrize(
    ("schedule", "middle", "end"), [("cosine", 0.5, 0.0), ("linear", 0.5, 0.0), ("constant", 1.0, 1.0)]
)
def test_the_learning_rate_warms_up_and_follows_its_schedule(
    schedule: str, middle: float, end: float
) -> None:
    given = ("training.steps=100", "training.warmup_steps=10", "training.learning_rate=1")
    options = read(*given, f"training.schedule={schedule}").training
    rates = [learning_rate(step, options) for step in range(101)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[10] == 1
    assert rates[55] == pytest.approx(middle)
    assert rates[100] == end
    assert rates[10:] == sorted(rates[10:], reverse=True)
