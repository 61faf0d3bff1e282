"""Physics-informed networks with seeded weights, and their problems."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from simsurrogate.spec import Axis, Boundary, Field, Grid
from surrogates import store
from surrogates.contract import Batch, Problem
from surrogates.pinn import PINN
from tests.support import problems

PARAMETRIC_PROBLEMS = [problems.fading_problem(), problems.circling_problem()]


def build(problem: Problem, **options: Any) -> PINN:
    """Return a network with seeded weights and the options of the YAML with changes."""
    torch.manual_seed(0)
    surrogate = store.build("pinn", problems.options("pinn") | options, problem, "float64")
    assert isinstance(surrogate, PINN)
    return surrogate


def random_batch(surrogate: PINN, size: int = 2) -> Batch:
    """Return a batch of random windows and random numbers."""
    return problems.batch(surrogate.problem, size=size, dtype=torch.float64, num_random=surrogate.num_random)


def line_problem(
    boundary: Boundary, boundary_values: tuple[float, float] = (0.0, 0.0), **changes: Any
) -> Problem:
    """Return the problem u_t = power Lap u on a line from 1 m to 3 m, with a uniform initial temperature."""

    def residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        second_derivative = derivative(derivative(fields["temperature"], "x"), "x")
        return {"heat": derivative(fields["temperature"], "t") - parameters["power"] * second_derivative}

    def initial_condition(coordinates: Any, parameters: Any, xp: Any) -> dict[str, Any]:
        return {"temperature": 0 * coordinates["x"] + 5.0}

    statistics = problems.grid_problem((8,), (boundary,)).statistics
    sites = Grid((Axis("x", "m", 8, 1.0, 3.0, boundary, boundary_values),))
    defaults: dict[str, Any] = {
        "sites": sites,
        "fields": (Field("temperature", "K", ""),),
        "coefficient_fields": (),
        "parametric": True,
        "residual": residual,
        "initial_condition": initial_condition,
        "statistics": dataclasses.replace(
            statistics, mean=(300.0,), std=(10.0,), delta_std=(1.0,), coefficient_mean=(), coefficient_std=()
        ),
    }
    return problems.grid_problem((8,), (boundary,), **(defaults | changes))
