"""Surrogates with seeded weights, and arguments of their `predict`, for the tests of the contract."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from surrogates import store
from surrogates.contract import (
    Problem,
    Surrogate,
)
from tests.support import problems

GRIDS = [
    *[(1, (boundary,)) for boundary in problems.BOUNDARIES],
    *[(2, pair) for pair in itertools.product(problems.BOUNDARIES, repeat=2)],
    (3, ("periodic", "dirichlet", "neumann")),
]
PROBLEMS = [
    *[problems.grid_problem(problems.SITES[num_axes], boundaries) for num_axes, boundaries in GRIDS],
    *[problems.particle_problem(*sizes) for sizes in ((2, 1), (2, 2), (3, 2), (5, 3))],
    problems.fading_problem(),
    problems.circling_problem(),
]


@functools.cache
def build_cached(name: str, problem: Problem, precision: str = "float64") -> Surrogate:
    """Return a surrogate with seeded weights, which tests share and must not change."""
    return build(name, problem, precision)


def build(name: str, problem: Problem, precision: str = "float64") -> Surrogate:
    """Return a new surrogate with seeded weights, prepared with random frames."""
    torch.manual_seed(0)
    surrogate = store.build(name, problems.options(name), problem, precision)
    surrogate.initialise(
        FramesInMemory(problems.batch(problem, size=6, frames=4, dtype=torch.float64)["state"])
    )
    return surrogate


class FramesInMemory:
    """The frames of windows (B, T, C, *sites) on one rank, see `surrogates.contract.TrainingFrames`."""

    def __init__(self, state: torch.Tensor, chunk_size: int = 5):
        self.states = state.flatten(0, 1)
        self.num_frames, self.chunk_size = len(self.states), chunk_size

    def __iter__(self) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        for indices in np.array_split(np.arange(self.num_frames), -(-self.num_frames // self.chunk_size)):
            yield indices, self.states[indices]

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        return values

    def gather(self, values: torch.Tensor) -> torch.Tensor:
        return values[None]


def build_perturbed(name: str, problem: Problem) -> Surrogate:
    """Return a surrogate in which every weight is nonzero."""
    surrogate = build(name, problem)
    with torch.no_grad():
        for weight in surrogate.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return surrogate


def arguments_of(problem: Problem, times: list[float], size: int = 2) -> dict[str, Any]:
    """Return the arguments of `predict` for random windows."""
    batch = problems.batch(problem, size, dtype=torch.float64)
    return {
        "initial_state": batch["state"][:, 0],
        "parameters": problems.parameters_by_name(problem, batch),
        "times": np.array(times),
    }


def plain_arguments(problem: Problem, **changes: Any) -> dict[str, Any]:
    """Return the arguments of `predict` for one case, within the range of the training data."""
    (coefficient,) = problem.spec.coefficient_channels
    return {
        "initial_state": np.zeros((1, len(problem.spec.channels), *problem.spec.shape)),
        "parameters": {"power": 1.0, coefficient: np.ones(problem.spec.shape)},
        "times": np.array([0.0, 0.25]),
    } | changes
