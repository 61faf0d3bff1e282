"""The physics-informed network: exact conditions, losses, training without data, and refusals."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch

from simsurrogate.errors import UserError
from simsurrogate.spec import Axis, Grid, Parameter
from surrogates.contract import ExtrapolationWarning, Problem
from surrogates.networks.taylor_mode import Orders
from surrogates.physics.residual import Equation
from surrogates.pinn import PINN
from tests.support import problems
from tests.support.trainings.pinn_cases import PARAMETRIC_PROBLEMS, build, line_problem, random_batch


def change_at(surrogate: PINN, x: list[float], time: float = 1.3) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the change of the temperature since the start at the positions x, and its derivative along x."""
    inputs = torch.tensor([[position, time, 1.7] for position in x], dtype=torch.float64)
    jet = surrogate.ansatz.jet(inputs, Orders(("x",), ()))
    return jet.value[:, 0].detach(), jet.along("x").value[:, 0].detach()


def test_the_change_vanishes_at_the_start_and_at_dirichlet_walls() -> None:
    surrogate = build(line_problem("dirichlet"))
    change_at_walls, _ = change_at(surrogate, [1.0, 3.0])
    assert torch.equal(change_at_walls, torch.zeros(2, dtype=torch.float64))
    change_at_start, _ = change_at(surrogate, [1.5, 2.5], time=0.0)
    assert torch.equal(change_at_start, torch.zeros(2, dtype=torch.float64))
    change_in_interior, _ = change_at(surrogate, [1.5, 2.5])
    assert (change_in_interior.abs() > 1e-3).all()


def test_the_normal_derivative_vanishes_at_neumann_walls() -> None:
    surrogate = build(line_problem("neumann"))
    _, derivative = change_at(surrogate, [1.0, 3.0, 1.9])
    assert derivative[:2].abs().max() < 1e-12 * derivative[2].abs()


def test_the_change_is_periodic_along_a_periodic_axis() -> None:
    surrogate = build(line_problem("periodic"))
    for change, derivative in (change_at(surrogate, [1.0, 3.0]), change_at(surrogate, [1.3, 3.3])):
        torch.testing.assert_close(change[0], change[1], rtol=1e-12, atol=0)
        torch.testing.assert_close(derivative[0], derivative[1], rtol=1e-12, atol=0)


def test_the_residual_in_taylor_mode_equals_reverse_mode_and_autograd() -> None:
    surrogate = build(problems.fading_problem())
    points = surrogate.points(random_batch(surrogate))
    residuals = surrogate.residual(points)
    reverse_mode_residuals = surrogate.residual.reverse_mode_residuals(points["inputs"])
    torch.testing.assert_close(reverse_mode_residuals, residuals, rtol=1e-10, atol=1e-12)

    def temperature(x: torch.Tensor, y: torch.Tensor, t: torch.Tensor, power: torch.Tensor) -> torch.Tensor:
        initial_temperature = 20 * torch.sin(math.pi * x) * torch.sin(math.pi / 2 * y)
        change: torch.Tensor = surrogate.ansatz(torch.stack([x, y, t, power])[None])[0, 0]
        return initial_temperature + change

    for index, inputs in enumerate(points["inputs"][:4]):
        gradient = torch.autograd.functional.jacobian(temperature, tuple(inputs))
        hessian = torch.autograd.functional.hessian(temperature, tuple(inputs))
        laplacian = hessian[0][0] + hessian[1][1]  # type: ignore[index]
        residual = gradient[2] - 0.01 * inputs[3] * 2 * laplacian
        expected = residual / surrogate.residual.equation.scales[0]
        torch.testing.assert_close(residuals[index, 0], expected, rtol=1e-9, atol=1e-12)


def test_an_equation_of_fourth_order_is_trained_by_reverse_mode() -> None:
    def residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        fourth_derivative = fields["temperature"]
        for _ in range(4):
            fourth_derivative = derivative(fourth_derivative, "x")
        return {"plate": derivative(fields["temperature"], "t") + parameters["power"] * fourth_derivative}

    surrogate = build(line_problem("dirichlet", residual=residual))
    assert surrogate.residual.equation.orders is None
    losses = surrogate(random_batch(surrogate))
    sum(losses.values()).backward()
    assert all(torch.isfinite(weight.grad).all() for weight in surrogate.parameters())  # type: ignore[arg-type]
    batch = random_batch(surrogate)
    squares = surrogate.residuals(surrogate.points(batch)).square().mean()
    torch.testing.assert_close(squares, sum(surrogate(batch).values()), rtol=1e-12, atol=0)
    assert "the equations plate use mixed derivatives" in str(surrogate.no_jacobian())


@pytest.mark.parametrize("problem", PARAMETRIC_PROBLEMS, ids=lambda problem: problem.spec.name)
def test_the_losses_sum_to_the_mean_square_of_the_residuals(problem: Problem) -> None:
    for weight in (0.0, 0.3):
        surrogate = build(problem, data_weight=weight)
        batch = random_batch(surrogate)
        losses = surrogate(batch)
        residuals = [f"residual_{name}" for name in surrogate.residual.equation.names]
        assert list(losses) == ([*residuals, "data"] if weight else residuals)
        squares = surrogate.residuals(surrogate.points(batch)).square().mean()
        torch.testing.assert_close(squares, sum(losses.values()), rtol=1e-12, atol=0)


@pytest.mark.parametrize("problem", PARAMETRIC_PROBLEMS, ids=lambda problem: problem.spec.name)
def test_a_data_weight_of_0_reads_no_frame(problem: Problem) -> None:
    surrogate = build(problem, data_weight=0.0)
    batch = random_batch(surrogate)
    losses_without_frames = surrogate({"random": batch["random"]})  # type: ignore[typeddict-item]
    losses = surrogate(batch)
    assert losses_without_frames.keys() == losses.keys()
    assert all(torch.equal(loss, losses[name]) for name, loss in losses_without_frames.items())


def test_the_solution_is_learned_from_the_equation_without_data() -> None:
    # Bodies on springs with angular frequencies of 1 to 3 rad/s move for 0.2 s.
    problem = dataclasses.replace(problems.circling_problem(), duration=0.2)
    surrogate = build(problem, data_weight=0.0, points=32, candidates=1)
    optimiser = torch.optim.LBFGS(surrogate.parameters(), max_iter=60, line_search_fn="strong_wolfe")
    batch = random_batch(surrogate)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = torch.stack(list(surrogate(batch).values())).sum()
        loss.backward()
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    assert problem.initial_condition is not None
    angular_velocity = torch.tensor([2.5], dtype=torch.float64)
    angles = 2.0 * torch.arange(3, dtype=torch.float64) + angular_velocity * torch.tensor([[0.0], [0.2]])
    x, y = 50 * torch.cos(angles), 50 * torch.sin(angles)
    truth = torch.stack([x, y, -angular_velocity * y, angular_velocity * x], dim=1)
    prediction = surrogate.predict(truth[:1], {"power": 2.5, "mass": np.ones(3)}, np.array([0.0, 0.2])).mean[
        0
    ]
    change = torch.linalg.vector_norm(truth[1] - truth[0])
    assert torch.linalg.vector_norm(prediction[1] - truth[1]) < 0.03 * change


def test_scaled_residuals_do_not_depend_on_the_units() -> None:
    # Kilometres and hours in place of metres and seconds change only the scale.
    problem_in_metres = line_problem("dirichlet")
    problem_in_kilometres = problems.change_problem(
        problem_in_metres,
        sites=Grid((Axis("x", "km", 8, 1e-3, 3e-3, "dirichlet"),)),
        duration=2.0 / 3600,
        parameters=(Parameter("power", "1", "", 3600e-6, 3 * 3600e-6),),
    )
    assert Equation(problem_in_kilometres).scales / Equation(problem_in_metres).scales == pytest.approx(3600)


def test_unsuitable_problems_and_options_are_refused() -> None:
    cases = [
        (
            line_problem("dirichlet", parametric=False),
            "needs initial fields that are functions of the scalar parameters.* random initial fields",
        ),
        (
            line_problem("neumann", (0.0, 0.3)),
            "neumann walls without flux, but the walls of axis x have the fluxes 0 and 0.3",
        ),
        (
            problems.grid_problem(
                (8, 8), ("dirichlet",) * 2, parametric=True, boundary_values=((0.0, 0.0), (0.0, 1.0))
            ),
            "walls with the values 0 and 1 meet",
        ),
    ]
    for problem, message in cases:
        with pytest.raises(
            UserError, match=rf"surrogate=pinn does not fit .*{message}.*Surrogates that fit: "
        ):
            build(problem)
    wrong_options = {"width": 0, "points": 0, "candidates": 0, "causality": -1.0, "data_weight": -1.0}
    for option, value in wrong_options.items():
        with pytest.raises(UserError, match=rf"surrogate\.{option}={value:g} is too small"):
            build(line_problem("dirichlet"), **{option: value})


def test_bodies_that_start_too_close_together_are_refused() -> None:
    # The stiffness of the springs has a pole at the upper end of the parameter range.
    regular_problem = problems.circling_problem()
    assert PINN.incompatibility(regular_problem) is None
    spring_residual = regular_problem.residual

    def residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        assert spring_residual is not None
        return spring_residual(fields, derivative, {"power": (3.0 - parameters["power"]) ** -1})  # type: ignore[no-any-return]

    with pytest.raises(UserError, match=r"start with \d+ times the usual forces.*Set solver.softening"):
        build(dataclasses.replace(regular_problem, residual=residual))


def test_walls_of_one_axis_may_have_different_values() -> None:
    assert PINN.incompatibility(line_problem("dirichlet", (0.0, 1.0))) is None


def test_times_outside_the_duration_warn_or_are_refused() -> None:
    surrogate = build(line_problem("dirichlet"))
    initial_state, scalars = np.zeros((1, 1, 8)), {"power": 2.0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        surrogate.predict(initial_state, scalars, np.array([0.0, 2.0]), strict=True)
    message = r"time=2.5 is outside the duration 0 to 2 .*1 of 2 times"
    with pytest.warns(ExtrapolationWarning, match=message):
        surrogate.predict(initial_state, scalars, np.array([0.0, 2.5]))
    with pytest.raises(UserError, match=message):
        surrogate.predict(initial_state, scalars, np.array([0.0, 2.5]), strict=True)


def test_causality_weights_the_residuals_and_not_the_data() -> None:
    problem = problems.circling_problem()
    plain_surrogate = build(problem, causality=0.0, candidates=1)
    causal_surrogate = build(problem, causality=0.5, candidates=1)
    batch = random_batch(plain_surrogate)
    points = causal_surrogate.points(batch)
    assert "weight" not in plain_surrogate.points(batch)
    squares = plain_surrogate.residuals(plain_surrogate.points(batch))[:, :12].square().mean(1)
    losses, expected = causal_surrogate(batch), plain_surrogate(batch)
    ratio = (points["weight"] * squares).mean() / squares.mean()
    causal_sum, plain_sum = (
        sum(loss for name, loss in losses_by_name.items() if name.startswith("residual_"))
        for losses_by_name in (losses, expected)
    )
    torch.testing.assert_close(causal_sum / plain_sum, ratio, rtol=1e-12, atol=0)
    assert torch.equal(losses["data"], expected["data"])
    assert 0 < points["weight"].min() < points["weight"].max() == 1


@pytest.mark.parametrize("problem", PARAMETRIC_PROBLEMS, ids=lambda problem: problem.spec.name)
def test_the_residuals_compile_to_one_graph(problem: Problem) -> None:
    surrogate = build(problem)
    points = surrogate.points(random_batch(surrogate))
    compiled_residuals = torch.compile(surrogate.residuals, backend="eager", fullgraph=True)
    torch.testing.assert_close(
        compiled_residuals(points), surrogate.residuals(points), rtol=1e-12, atol=1e-12
    )
