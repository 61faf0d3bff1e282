"""Training of physics-informed surrogates: the equation, and random numbers for their points."""

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
from tests.support.trainings.training_cases import generate_dataset


def test_the_random_numbers_of_a_window_depend_only_on_seed_step_and_position() -> None:
    problem = problems.grid_problem((16,), ("periodic",))
    batch = problems.batch(problem, size=4, dtype=torch.float64)
    numbers = with_random(batch, 50, seed=1, step=2, positions=np.arange(4))["random"]
    assert (numbers.shape, numbers.dtype) == ((4, 50), torch.float64)
    assert 0 <= numbers.min() < 0.1
    assert 0.9 < numbers.max() < 1
    half_batch = {name: values[2:] for name, values in batch.items()}  # type: ignore[attr-defined]
    numbers_of_half = with_random(half_batch, 50, seed=1, step=2, positions=np.array([2, 3]))["random"]  # type: ignore[arg-type]
    assert torch.equal(numbers_of_half, numbers[2:])
    other_numbers = [
        with_random(batch, 50, seed=seed, step=step, positions=np.arange(4))["random"]
        for seed, step in ((1, 3), (2, 2))
    ]
    for independent_numbers in (*other_numbers, numbers.roll(1, 0)):
        assert not torch.isclose(independent_numbers, numbers).any()


def test_random_numbers_of_float32_stay_below_one() -> None:
    batch = problems.batch(problems.grid_problem((16,), ("periodic",)), size=2)
    numbers = with_random(batch, 10**6, seed=0, step=0, positions=np.arange(2))["random"]
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
    plain_problem = problem_for(dataset, FNO, {})
    assert plain_problem.spec.parametric
    assert (plain_problem.residual, plain_problem.initial_condition) == (None, None)
    monkeypatch.setattr(FNO, "physics_informed", True)
    problem_with_physics = problem_for(dataset, FNO, {})
    assert problem_with_physics == plain_problem == problem_of(dataset)
    assert Problem.from_json(problem_with_physics.to_json()) == plain_problem
    assert problem_with_physics.residual is not None
    assert problem_with_physics.initial_condition is not None
    trajectory = dataset.trajectory("train", 0)
    x = problem_with_physics.spec.axes[0].centres
    fields = problem_with_physics.initial_condition({"x": x}, trajectory.parameters, np)
    np.testing.assert_allclose(fields["temperature"], trajectory.state[0, 0], rtol=0, atol=1e-6)
