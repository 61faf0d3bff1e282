"""Training of physics-informed surrogates: they get the equation, and random numbers for their points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.data.dataset import Dataset
from pipeline.problem import problem_for, problem_of
from pipeline.training.batches.augment import with_random
from surrogates.contract import Problem
from surrogates.fno import FNO
from tests.support import problems
from tests.support.training_cases import generate_dataset


def test_the_random_numbers_of_a_window_follow_from_seed_step_and_place() -> None:
    problem = problems.problem((16,), ("periodic",))
    batch = problems.batch(problem, size=4, dtype=torch.float64)
    whole = with_random(batch, 50, seed=1, step=2, places=np.arange(4))["random"]
    assert (whole.shape, whole.dtype) == ((4, 50), torch.float64)
    assert 0 <= whole.min() < 0.1
    assert 0.9 < whole.max() < 1
    half = {name: values[2:] for name, values in batch.items()}  # type: ignore[attr-defined]
    part = with_random(half, 50, seed=1, step=2, places=np.array([2, 3]))["random"]  # type: ignore[arg-type]
    assert torch.equal(part, whole[2:])
    others = [
        with_random(batch, 50, seed=seed, step=step, places=np.arange(4))["random"]
        for seed, step in ((1, 3), (2, 2))
    ]
    for other in (*others, whole.roll(1, 0)):
        assert not torch.isclose(other, whole).any()


def test_random_numbers_of_float32_stay_below_one() -> None:
    batch = problems.batch(problems.problem((16,), ("periodic",)), size=2)
    numbers = with_random(batch, 10**6, seed=0, step=0, places=np.arange(2))["random"]
    assert numbers.dtype == torch.float32
    assert numbers.max() < 1


def test_only_a_physics_informed_surrogate_gets_the_equation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harmonics = (
        "solver.initial.kind=harmonics",
        "solver.initial.count=2",
        "solver.diffusivity.kind=constant",
    )
    dataset = Dataset.open(generate_dataset(tmp_path, *harmonics))
    plain = problem_for(dataset, FNO, {})
    assert plain.spec.parametric
    assert (plain.residual, plain.initial_condition) == (None, None)
    monkeypatch.setattr(FNO, "physics_informed", True)
    informed = problem_for(dataset, FNO, {})
    assert informed == plain == problem_of(dataset)
    assert Problem.from_json(informed.to_json()) == plain
    assert informed.residual is not None
    assert informed.initial_condition is not None
    trajectory = dataset.trajectory("train", 0)
    x = informed.spec.axes[0].centres
    fields = informed.initial_condition({"x": x}, trajectory.parameters, np)
    np.testing.assert_allclose(fields["temperature"], trajectory.state[0, 0], rtol=0, atol=1e-6)
