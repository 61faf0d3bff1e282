"""Weighted sums of derivatives in an equation: detection, and comparison with reverse mode."""

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
from tests.support.trainings.training_cases import read_settings

T, X, Y, XX, YY = ("t",), ("x",), ("y",), ("x", "x"), ("y", "y")


def problem_of(experiment: str) -> Problem:
    """Return the problem of an experiment, without data."""
    solver = build_solver(read_settings(f"experiment={experiment}").solver, MPI.COMM_SELF)
    return with_physics(expected_problem(solver.spec, np.linspace(0, 0.5, 6)), solver)


def variable_conductivity_problem() -> Problem:
    """Return the problem of heat on a line with the conductivity 2 + sin(pi x) and a source."""

    def residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        flux = parameters["power"] * fields["conductivity"] * derivative(fields["temperature"], "x")
        return {"heat": derivative(fields["temperature"], "t") - derivative(flux, "x") - 3.0}

    def initial_condition(coordinates: Any, parameters: Any, xp: Any) -> dict[str, Any]:
        wave = xp.sin(math.pi * coordinates["x"])
        return {"temperature": parameters["power"] * wave, "conductivity": 2 + wave}

    statistics = dataclasses.replace(
        problems.grid_problem((8,), ("periodic",)).statistics, mean=(0.0,), std=(10.0,), delta_std=(1.0,)
    )
    return problems.grid_problem(
        (8,), ("periodic",), fields=(Field("temperature", "K", ""),), parametric=True, residual=residual,
        initial_condition=initial_condition, statistics=statistics,
    )  # fmt: skip


def build_pinn(problem: Problem) -> PINN:
    torch.manual_seed(0)
    pinn = store.build("pinn", problems.options("pinn") | {"data_weight": 0.0}, problem, "float64")
    assert isinstance(pinn, PINN)
    return pinn


def assert_equals_reverse_mode(pinn: PINN) -> None:
    """Compare the residuals, and the gradients of their mean squares with respect to the weights."""
    batch = problems.batch(pinn.problem, 3, dtype=torch.float64, num_random=pinn.num_random)
    points = pinn.points(batch)
    residuals = [pinn.residual(points), pinn.residual.reverse_mode_residuals(points["inputs"])]
    torch.testing.assert_close(*residuals, rtol=1e-9, atol=1e-11)
    weights = list(pinn.parameters())
    gradients = [
        torch.autograd.grad(residual.square().mean(), weights, allow_unused=True, materialize_grads=True)
        for residual in residuals
    ]
    for gradient, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("experiment", ["heat_parametric", "taylor_green"])
def test_the_residual_of_a_solver_equals_reverse_mode(experiment: str) -> None:
    pinn = build_pinn(problem_of(experiment))
    assert pinn.residual.equation.orders is not None
    assert pinn.residual.equation.orders.weighted_sum == (T, XX, YY)
    assert_equals_reverse_mode(pinn)


def test_the_residual_of_the_bodies_equals_forward_mode() -> None:
    pinn = build_pinn(problem_of("kepler"))
    assert pinn.residual.equation.operator is None
    problem, columns = pinn.problem, pinn.ansatz.columns
    points = pinn.points(problems.batch(problem, 3, dtype=torch.float64, num_random=pinn.num_random))
    coordinates = pinn.ansatz.coordinates_by_name(points["inputs"])

    def fields(time: torch.Tensor) -> dict[str, torch.Tensor]:
        inputs = torch.cat([time[:, None], points["inputs"][:, 1:]], dim=1)
        initial_fields = initial_condition(problem, inputs, columns)
        changes = dict(zip(problem.spec.channels, pinn.ansatz(inputs).unbind(1), strict=True))
        return {name: values + changes.get(name, 0) for name, values in initial_fields.items()}

    time = coordinates["t"].value
    values, derivatives = torch.func.jvp(fields, (time,), (torch.ones_like(time),))
    derivative_by_id = {id(field): derivatives[name] for name, field in values.items()}
    expected = pinn.residual.equation(
        values,
        lambda field, axis: derivative_by_id[id(field)],
        {name: jet.value for name, jet in pinn.residual.scalars(coordinates).items()},
    )
    torch.testing.assert_close(pinn.residual(points), expected, rtol=1e-9, atol=1e-11)


def test_a_variable_conductivity_is_the_weight_of_the_second_derivative() -> None:
    pinn = build_pinn(variable_conductivity_problem())
    assert pinn.residual.equation.orders is not None
    assert pinn.residual.equation.orders.weighted_sum == (T, XX)
    points = pinn.points(problems.batch(pinn.problem, 3, dtype=torch.float64, num_random=pinn.num_random))
    x, _, power = points["inputs"].unbind(-1)
    torch.testing.assert_close(points["operator"][:, 0], torch.ones_like(x))
    torch.testing.assert_close(points["operator"][:, 1], -power * (2 + torch.sin(math.pi * x)))
    assert_equals_reverse_mode(pinn)


def flow_residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
    """Return the residual of two fields with a common velocity and different diffusivities."""
    residuals = {}
    for name, rate in {"temperature": 1.0, "pressure": 0.5}.items():
        field = fields[name]
        diffusion = derivative(derivative(field, "x"), "x") + 2 * derivative(derivative(field, "y"), "y")
        advection = fields["temperature"] * derivative(field, "x")
        residuals[name] = derivative(field, "t") + advection - rate * parameters["power"] * diffusion
    return residuals


def test_fields_of_different_diffusivities_share_only_the_second_derivatives() -> None:
    pinn = build_pinn(dataclasses.replace(problems.fading_problem(), residual=flow_residual))
    assert pinn.residual.equation.orders is not None
    assert pinn.residual.equation.orders.weighted_sum == (XX, YY)
    assert_equals_reverse_mode(pinn)


def second_derivative(fields: Any, derivative: Any, axis: str) -> Any:
    return derivative(derivative(fields["temperature"], axis), axis)


#: Equations that need each derivative separately.
SEPARATE_RESIDUALS = {
    "a diffusivity that is the field": lambda u, d, p: (
        d(u["temperature"], "t")
        - u["temperature"] * (second_derivative(u, d, "x") + 2 * second_derivative(u, d, "y"))
    ),
    "a square": lambda u, d, p: (
        d(u["temperature"], "t") - second_derivative(u, d, "x") ** 2 - second_derivative(u, d, "y")
    ),
    "a product": lambda u, d, p: (
        d(u["temperature"], "t") - second_derivative(u, d, "x") * second_derivative(u, d, "y")
    ),
}


@pytest.mark.parametrize("name", SEPARATE_RESIDUALS)
def test_derivatives_with_coefficients_of_unknown_fields_stay_separate(name: str) -> None:
    def residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        return {"equation": SEPARATE_RESIDUALS[name](fields, derivative, parameters)}

    pinn = build_pinn(dataclasses.replace(problems.fading_problem(), residual=residual))
    assert pinn.residual.equation.operator is None
    assert_equals_reverse_mode(pinn)


def test_derivatives_with_different_weights_in_two_equations_stay_separate() -> None:
    def residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        u, p = fields["temperature"], fields["pressure"]
        u_xx, u_yy = (derivative(derivative(u, axis), axis) for axis in "xy")
        return {
            "temperature": derivative(u, "t") - u_xx - u_yy,
            "pressure": derivative(p, "t") - u_xx - 2 * u_yy,
        }

    pinn = build_pinn(dataclasses.replace(problems.fading_problem(), residual=residual))
    assert pinn.residual.equation.operator is None
    assert_equals_reverse_mode(pinn)


def test_advection_needs_one_derivative_along_the_characteristic() -> None:
    def residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        u = fields["temperature"]
        advection = 0.3 * derivative(u, "x") + parameters["power"] * derivative(u, "y")
        return {"advection": derivative(u, "t") + advection}

    pinn = build_pinn(dataclasses.replace(problems.fading_problem(), residual=residual))
    assert pinn.residual.equation.orders is not None
    assert set(pinn.residual.equation.orders.weighted_sum) == {T, X, Y}
    assert_equals_reverse_mode(pinn)


@pytest.mark.parametrize("is_weighted", [True, False])
def test_the_gradient_of_tanh_with_derivatives_equals_finite_differences(is_weighted: bool) -> None:
    torch.manual_seed(0)
    curvature = torch.randn(2, 5, 1, dtype=torch.float64) if is_weighted else None
    num_channels = (
        5 if is_weighted else 6
    )  # a value, three first derivatives, and a sum or two second derivatives
    channels = [torch.randn(5, 3, dtype=torch.float64, requires_grad=True) for _ in range(num_channels)]

    def tanh(*tensors: torch.Tensor) -> Any:
        return _Tanh.apply(curvature, 3, *tensors)  # type: ignore[no-untyped-call]

    assert torch.autograd.gradcheck(tanh, channels)
    assert torch.autograd.gradgradcheck(tanh, channels)
