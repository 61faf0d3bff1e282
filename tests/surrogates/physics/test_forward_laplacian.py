"""Derivatives that an equation needs as one sum are found, and what is left of it is that by reverse mode."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from mpi4py import MPI

from pipeline.config.build import build_solver
from pipeline.problem import expected_problem, with_physics
from simsurrogate.spec import Field
from surrogates import store
from surrogates.contract import Problem
from surrogates.networks.taylor_mlp import _Tanh
from surrogates.physics.initial_condition import initial_condition
from surrogates.pinn import PINN
from tests.support import problems
from tests.support.training_cases import read

T, X, Y, XX, YY = ("t",), ("x",), ("y",), ("x", "x"), ("y", "y")


def solved(experiment: str) -> Problem:
    """The problem of an experiment, without data."""
    solver = build_solver(read(f"experiment={experiment}").solver, MPI.COMM_SELF)
    return with_physics(expected_problem(solver.spec, np.linspace(0, 0.5, 6)), solver)


def varied() -> Problem:
    """Heat on a line whose conductivity is a field, 2 + sin(pi x), with a source."""

    def residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        flux = parameters["power"] * fields["conductivity"] * derivative(fields["temperature"], "x")
        return {"heat": derivative(fields["temperature"], "t") - derivative(flux, "x") - 3.0}

    def initial_condition(coordinates: Any, parameters: Any, functions: Any) -> dict[str, Any]:
        wave = functions.sin(math.pi * coordinates["x"])
        return {"temperature": parameters["power"] * wave, "conductivity": 2 + wave}

    statistics = dataclasses.replace(
        problems.problem((8,), ("periodic",)).statistics, mean=(0.0,), std=(10.0,), delta_std=(1.0,)
    )
    return problems.problem(
        (8,), ("periodic",), fields=(Field("temperature", "K", ""),), parametric=True, residual=residual,
        initial_condition=initial_condition, statistics=statistics,
    )  # fmt: skip


def surrogate(problem: Problem) -> PINN:
    torch.manual_seed(0)
    built = store.build("pinn", problems.options("pinn") | {"data_weight": 0.0}, problem, "float64")
    assert isinstance(built, PINN)
    return built


def agrees_with_reverse_mode(pinn: PINN) -> None:
    """What is left of the equations, and the gradient of its mean square by the weights."""
    batch = problems.batch(pinn.problem, 3, dtype=torch.float64, num_random=pinn.num_random)
    points = pinn.points(batch)
    found = [pinn.residual(points), pinn.residual.by_reverse_mode(points["inputs"])]
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-11)
    weights = list(pinn.parameters())
    of_each = [
        torch.autograd.grad(left.square().mean(), weights, allow_unused=True, materialize_grads=True)
        for left in found
    ]
    for carried, expected in zip(*of_each, strict=True):
        torch.testing.assert_close(carried, expected, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("experiment", ["heat_parametric", "taylor_green"])
def test_what_is_left_of_a_solvers_equation_is_that_by_reverse_mode(experiment: str) -> None:
    pinn = surrogate(solved(experiment))
    assert pinn.residual.equation.orders is not None
    assert pinn.residual.equation.orders.together == (T, XX, YY)
    agrees_with_reverse_mode(pinn)


def test_what_is_left_of_the_bodies_equation_is_that_by_forward_mode() -> None:
    pinn = surrogate(solved("kepler"))
    assert pinn.residual.equation.operator is None
    problem, columns = pinn.problem, pinn.ansatz.columns
    points = pinn.points(problems.batch(problem, 3, dtype=torch.float64, num_random=pinn.num_random))
    at = pinn.ansatz.named(points["inputs"])

    def fields(time: torch.Tensor) -> dict[str, torch.Tensor]:
        inputs = torch.cat([time[:, None], points["inputs"][:, 1:]], dim=1)
        start = initial_condition(problem, inputs, columns)
        moved = dict(zip(problem.spec.channels, pinn.ansatz(inputs).unbind(1), strict=True))
        return {name: values + moved.get(name, 0) for name, values in start.items()}

    time = at["t"].value
    values, slopes = torch.func.jvp(fields, (time,), (torch.ones_like(time),))
    by_id = {id(each): slopes[name] for name, each in values.items()}
    expected = pinn.residual.equation(
        values,
        lambda each, axis: by_id[id(each)],
        {name: jet.value for name, jet in pinn.residual.scalars(at).items()},
    )
    torch.testing.assert_close(pinn.residual(points), expected, rtol=1e-9, atol=1e-11)


def test_a_conductivity_that_varies_in_space_weighs_the_second_derivative() -> None:
    pinn = surrogate(varied())
    assert pinn.residual.equation.orders is not None
    assert pinn.residual.equation.orders.together == (T, XX)
    points = pinn.points(problems.batch(pinn.problem, 3, dtype=torch.float64, num_random=pinn.num_random))
    x, _, power = points["inputs"].unbind(-1)
    torch.testing.assert_close(points["operator"][:, 0], torch.ones_like(x))
    torch.testing.assert_close(points["operator"][:, 1], -power * (2 + torch.sin(math.pi * x)))
    agrees_with_reverse_mode(pinn)


def flow(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
    """Two fields that one velocity carries, with diffusivities of their own."""
    found = {}
    for name, rate in {"temperature": 1.0, "pressure": 0.5}.items():
        field = fields[name]
        spread = derivative(derivative(field, "x"), "x") + 2 * derivative(derivative(field, "y"), "y")
        carried = fields["temperature"] * derivative(field, "x")
        found[name] = derivative(field, "t") + carried - rate * parameters["power"] * spread
    return found


def test_fields_of_other_diffusivities_share_their_second_derivatives_alone() -> None:
    pinn = surrogate(dataclasses.replace(problems.fading(), residual=flow))
    assert pinn.residual.equation.orders is not None
    assert pinn.residual.equation.orders.together == (XX, YY)
    agrees_with_reverse_mode(pinn)


def bent(fields: Any, derivative: Any, axis: str) -> Any:
    return derivative(derivative(fields["temperature"], axis), axis)


#: Left sides that need their derivatives one by one.
APART = {
    "a diffusivity that is the field": lambda u, d, p: (
        d(u["temperature"], "t") - u["temperature"] * (bent(u, d, "x") + 2 * bent(u, d, "y"))
    ),
    "a square": lambda u, d, p: d(u["temperature"], "t") - bent(u, d, "x") ** 2 - bent(u, d, "y"),
    "a product": lambda u, d, p: d(u["temperature"], "t") - bent(u, d, "x") * bent(u, d, "y"),
}


@pytest.mark.parametrize("name", APART)
def test_derivatives_that_unknown_fields_enter_stay_apart(name: str) -> None:
    def residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        return {"left": APART[name](fields, derivative, parameters)}

    pinn = surrogate(dataclasses.replace(problems.fading(), residual=residual))
    assert pinn.residual.equation.operator is None
    agrees_with_reverse_mode(pinn)


def test_equations_that_weigh_derivatives_differently_keep_them_apart() -> None:
    def residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        u, p = fields["temperature"], fields["pressure"]
        along, across = (derivative(derivative(u, axis), axis) for axis in "xy")
        return {
            "one": derivative(u, "t") - along - across,
            "other": derivative(p, "t") - along - 2 * across,
        }

    pinn = surrogate(dataclasses.replace(problems.fading(), residual=residual))
    assert pinn.residual.equation.operator is None
    agrees_with_reverse_mode(pinn)


def test_transport_needs_one_derivative_along_its_way() -> None:
    def residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        u = fields["temperature"]
        way = 0.3 * derivative(u, "x") + parameters["power"] * derivative(u, "y")
        return {"transport": derivative(u, "t") + way}

    pinn = surrogate(dataclasses.replace(problems.fading(), residual=residual))
    assert pinn.residual.equation.orders is not None
    assert set(pinn.residual.equation.orders.together) == {T, X, Y}
    agrees_with_reverse_mode(pinn)


@pytest.mark.parametrize("weighted", [True, False])
def test_the_gradient_of_tanh_with_derivatives_is_that_of_small_differences(weighted: bool) -> None:
    torch.manual_seed(0)
    curvature = torch.randn(2, 5, 1, dtype=torch.float64) if weighted else None
    number = 5 if weighted else 6  # a value, three slopes, and a sum or two second derivatives
    streams = [torch.randn(5, 3, dtype=torch.float64, requires_grad=True) for _ in range(number)]

    def carried(*each: torch.Tensor) -> Any:
        return _Tanh.apply(curvature, 3, *each)  # type: ignore[no-untyped-call]

    assert torch.autograd.gradcheck(carried, streams)
    assert torch.autograd.gradgradcheck(carried, streams)
