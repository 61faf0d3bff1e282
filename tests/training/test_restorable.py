"""Forged checkpoints with a right checksum: a state that no training can have is refused."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline.training import checkpoint
from pipeline.training.checkpoint import Checkpoint
from pipeline.training.train_state import TrainState
from simsurrogate.errors import UserError
from surrogates import store
from tests.support import problems
from tests.support.in_process import settings_of


def initial_state() -> TrainState:
    """Return the state of a small FNO before its first step."""
    torch.manual_seed(0)
    problem = problems.grid_problem((12,), ("periodic",))
    surrogate = store.build("fno", {"width": 4, "modes": 3, "layers": 1}, problem, "float32")
    return TrainState(surrogate, torch.optim.AdamW(surrogate.parameters(), fused=True))


@pytest.fixture
def options(tmp_path: Path):
    return settings_of(tmp_path, "training.steps=20").training


@pytest.fixture
def intact(options) -> Checkpoint:
    """Return the checkpoint after three steps, one of which was skipped, and a validation."""
    state = initial_state()
    for norm in (1.0, math.nan, 1.0):
        if math.isfinite(norm):
            for parameter in state.surrogate.parameters():
                parameter.grad = torch.ones_like(parameter)
            state.optimiser.step()
        state.count_step(norm)
    state.add_validation(0.5, options)
    return state.to_checkpoint({"seed": 0})


def test_an_intact_checkpoint_is_restored(intact: Checkpoint, options, tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, intact, 3)
    state = initial_state()
    state.restore(checkpoint.load(path), options)
    assert (state.step, state.best_step, state.skipped_steps) == (3, 3, [2])
    restored = state.to_checkpoint({"seed": 0})
    assert restored.metadata == intact.metadata
    assert all(torch.equal(restored.tensors[name], tensor) for name, tensor in intact.tensors.items())
    initial = initial_state()
    initial.restore(initial_state().to_checkpoint({"seed": 0}), options)
    assert initial.step == 0


def test_equal_states_have_equal_bytes(intact: Checkpoint, tmp_path: Path) -> None:
    contents = {checkpoint.save(tmp_path, intact, 3).read_bytes() for _ in range(20)}
    assert len(contents) == 1
    assert checkpoint.load(checkpoint.paths(tmp_path)[0]).metadata == intact.metadata


def with_metadata(**changes: object) -> Callable[[Checkpoint], Checkpoint]:
    return lambda intact: dataclasses.replace(intact, metadata=dict(intact.metadata) | changes)


def without(prefix: str) -> Callable[[Checkpoint], Checkpoint]:
    def remove(intact: Checkpoint) -> Checkpoint:
        tensors = {name: tensor for name, tensor in intact.tensors.items() if not name.startswith(prefix)}
        return dataclasses.replace(intact, tensors=tensors)

    return remove


def with_tensor(
    prefix: str, change: Callable[[torch.Tensor], torch.Tensor]
) -> Callable[[Checkpoint], Checkpoint]:
    def replace(intact: Checkpoint) -> Checkpoint:
        name = next(name for name in intact.tensors if name.startswith(prefix))
        return dataclasses.replace(
            intact, tensors=dict(intact.tensors) | {name: change(intact.tensors[name])}
        )

    return replace


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (lambda intact: dataclasses.replace(intact, step=10**6), "outside the 20 steps of this training"),
        (with_metadata(best_error=-1.0), "best_error: Input should be greater than or equal to 0"),
        (with_metadata(best_error=math.nan), "best_error"),
        (with_metadata(best_error="0.5"), "best_error: Input should be a valid number"),
        (with_metadata(best_step=7), "smallest error at step 7, which was not validated"),
        (with_metadata(skipped=[2, 1]), "skipped steps that are not increasing"),
        (with_metadata(skipped=[9]), "skipped steps that are not increasing numbers from 1 to 3"),
        (with_metadata(rows=[[3]]), "rows.0: List should have at least 5 items"),
        (with_metadata(rows=None), "rows: Input should be a valid list"),
        (with_metadata(damping=-1.0), "damping"),
        (with_metadata(loss_weights={"data": math.inf}), "loss_weights.data"),
        (with_metadata(unknown=1), None),
        (without("optimiser."), "lacks optimiser.0.exp_avg"),
        (without("optimiser.0.exp_avg_sq"), "lacks optimiser.0.exp_avg_sq"),
        (without("weights."), "lacks weights."),
        (without("best."), "lacks best."),
        (with_tensor("weights.", lambda tensor: tensor[:1].clone()), "has weights.* of shape"),
        (with_tensor("optimiser.0.exp_avg", lambda tensor: tensor.flatten()[:1].clone()), "of shape"),
        (with_tensor("weights.", lambda tensor: tensor * math.nan), "holds NaN"),
        (with_tensor("optimiser.0.exp_avg_sq", lambda tensor: tensor * math.nan), "holds NaN"),
        (with_tensor("best.", lambda tensor: tensor * math.nan), "holds NaN"),
    ],
)
@pytest.mark.fault(
    "a checkpoint with a right checksum holds an impossible state",
    cause="wrong steps, errors, missing or non-finite tensors",
    result="refused with the value",
    lost="nothing",
)
def test_an_impossible_state_is_refused(
    forge: Callable[[Checkpoint], Checkpoint],
    message: str | None,
    intact: Checkpoint,
    options,
    tmp_path: Path,
) -> None:
    path = checkpoint.save(tmp_path, forge(intact), 3)
    if message is None:
        initial_state().restore(checkpoint.load(path), options)
        return
    with pytest.raises(UserError, match=message):
        initial_state().restore(checkpoint.load(path), options)


def test_a_checkpoint_with_the_name_of_another_step_is_refused(intact: Checkpoint, tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, intact, 3)
    other_path = path.with_name("step-000000010.safetensors")
    path.rename(other_path)
    with pytest.raises(UserError, match="it holds step 3, and its name says 10"):
        checkpoint.load(other_path)
