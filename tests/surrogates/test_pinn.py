"""The physics-informed network meets its conditions exactly, learns from the equation alone, and says no."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch

from simsurrogate.spec import Axis, Boundary, Field, Grid, Parameter
from surrogates import store
from surrogates.contract import Batch, ExtrapolationWarning, Problem
from surrogates.networks.taylor_mode import Orders
from surrogates.physics.collocation import EvenPoints, causal_weights, preferred
from surrogates.physics.residual import Equation
from surrogates.pinn import PINN
from tests.support import problems

DETERMINED = [problems.fading(), problems.circling()]


def built(problem: Problem, **options: Any) -> PINN:
    torch.manual_seed(0)
    surrogate = store.build("pinn", problems.options("pinn") | options, problem, "float64")
    assert isinstance(surrogate, PINN)
    return surrogate


def uniform(surrogate: PINN, size: int = 2) -> Batch:
    return problems.batch(surrogate.problem, size=size, dtype=torch.float64, num_random=surrogate.num_random)


def line(boundary: Boundary, boundary_values: tuple[float, float] = (0.0, 0.0), **changes: Any) -> Problem:
    """u_t = power Lap u on a line from 1 m to 3 m, of a start that meets homogeneous walls."""

    def residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        bend = derivative(derivative(fields["temperature"], "x"), "x")
        return {"heat": derivative(fields["temperature"], "t") - parameters["power"] * bend}

    def initial_condition(coordinates: Any, parameters: Any, functions: Any) -> dict[str, Any]:
        return {"temperature": 0 * coordinates["x"] + 5.0}

    statistics = problems.problem((8,), (boundary,)).statistics
    sites = Grid((Axis("x", "m", 8, 1.0, 3.0, boundary, boundary_values),))
    plain: dict[str, Any] = {
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
    return problems.problem((8,), (boundary,), **(plain | changes))


def change_at(surrogate: PINN, x: list[float], time: float = 1.3) -> tuple[torch.Tensor, torch.Tensor]:
    """The change of the temperature since the start at points x, and its slope."""
    inputs = torch.tensor([[each, time, 1.7] for each in x], dtype=torch.float64)
    jet = surrogate.change.jet(inputs, Orders(("x",), ()))
    return jet.value[:, 0].detach(), jet.along("x").value[:, 0].detach()


def test_nothing_changes_at_the_start_and_at_dirichlet_walls() -> None:
    surrogate = built(line("dirichlet"))
    at_walls, _ = change_at(surrogate, [1.0, 3.0])
    assert torch.equal(at_walls, torch.zeros(2, dtype=torch.float64))
    at_start, _ = change_at(surrogate, [1.5, 2.5], time=0.0)
    assert torch.equal(at_start, torch.zeros(2, dtype=torch.float64))
    inside, _ = change_at(surrogate, [1.5, 2.5])
    assert (inside.abs() > 1e-3).all()


def test_there_is_no_slope_at_neumann_walls() -> None:
    surrogate = built(line("neumann"))
    _, slope = change_at(surrogate, [1.0, 3.0, 1.9])
    assert slope[:2].abs().max() < 1e-12 * slope[2].abs()


def test_a_periodic_axis_has_no_ends() -> None:
    surrogate = built(line("periodic"))
    for left, right in (change_at(surrogate, [1.0, 3.0]), change_at(surrogate, [1.3, 3.3])):
        torch.testing.assert_close(left[0], left[1], rtol=1e-12, atol=0)
        torch.testing.assert_close(right[0], right[1], rtol=1e-12, atol=0)


def test_the_residual_by_jets_is_that_by_reverse_mode_and_by_hand() -> None:
    surrogate = built(problems.fading())
    points = surrogate.points(uniform(surrogate))
    assert surrogate.equation is not None
    carried = surrogate._unbalanced(points)
    by_reverse_mode = surrogate._by_reverse_mode(points["inputs"])
    torch.testing.assert_close(by_reverse_mode, carried, rtol=1e-10, atol=1e-12)

    def temperature(x: torch.Tensor, y: torch.Tensor, t: torch.Tensor, power: torch.Tensor) -> torch.Tensor:
        start = 20 * torch.sin(math.pi * x) * torch.sin(math.pi / 2 * y)
        found: torch.Tensor = start + surrogate.change(torch.stack([x, y, t, power])[None])[0, 0]
        return found

    for number, inputs in enumerate(points["inputs"][:4]):
        slope = torch.autograd.functional.jacobian(temperature, tuple(inputs))
        bend = torch.autograd.functional.hessian(temperature, tuple(inputs))
        left = slope[2] - 0.01 * inputs[3] * 2 * (bend[0][0] + bend[1][1])  # type: ignore[index]
        expected = left / surrogate.equation.scales[0]
        torch.testing.assert_close(carried[number, 0], expected, rtol=1e-9, atol=1e-12)


def test_an_equation_of_fourth_order_is_learned_by_reverse_mode() -> None:
    def residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        bend = fields["temperature"]
        for _ in range(4):
            bend = derivative(bend, "x")
        return {"plate": derivative(fields["temperature"], "t") + parameters["power"] * bend}

    surrogate = built(line("dirichlet", residual=residual))
    assert surrogate.equation is not None
    assert surrogate.equation.orders is None
    losses = surrogate(uniform(surrogate))
    sum(losses.values()).backward()
    assert all(torch.isfinite(weight.grad).all() for weight in surrogate.parameters())  # type: ignore[arg-type]
    batch = uniform(surrogate)
    squares = surrogate.residuals(surrogate.points(batch)).square().mean()
    torch.testing.assert_close(squares, sum(surrogate(batch).values()), rtol=1e-12, atol=0)
    assert "the equations plate ask for mixed derivatives" in str(surrogate.no_jacobian())


@pytest.mark.parametrize("problem", DETERMINED, ids=lambda problem: problem.spec.name)
def test_the_residuals_are_what_the_losses_are_the_mean_square_of(problem: Problem) -> None:
    for weight in (0.0, 0.3):
        surrogate = built(problem, data_weight=weight)
        batch = uniform(surrogate)
        losses = surrogate(batch)
        assert surrogate.equation is not None
        residuals = [f"residual_{name}" for name in surrogate.equation.names]
        assert list(losses) == ([*residuals, "data"] if weight else residuals)
        squares = surrogate.residuals(surrogate.points(batch)).square().mean()
        torch.testing.assert_close(squares, sum(losses.values()), rtol=1e-12, atol=0)


def flow(conserved: bool = True) -> Problem:
    """A velocity in a periodic square, known by its divergence and curl, which both stay 0."""

    def residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        u, v = fields["velocity_x"], fields["velocity_y"]
        return {
            "divergence": derivative(u, "x") + derivative(v, "y"),
            "curl": derivative(v, "x") - derivative(u, "y"),
        }

    def initial_condition(coordinates: Any, parameters: Any, functions: Any) -> dict[str, Any]:
        return {name: 0 * coordinates["x"] for name in ("velocity_x", "velocity_y", "conductivity")}

    velocity = Field("velocity", "m/s", "", 1, conserved=conserved, divergence_free=True)
    return problems.problem(
        (8, 8), ("periodic",) * 2, fields=(velocity,), parametric=True,
        residual=residual, initial_condition=initial_condition,
    )  # fmt: skip


def test_a_velocity_that_drifts_is_told_by_its_mean() -> None:
    surrogate = built(flow(), data_weight=0.0)
    batch = uniform(surrogate)
    with torch.no_grad():
        for weight in surrogate.parameters():
            weight.zero_()
        surrogate.change.network.layers[-1].bias.copy_(torch.tensor([3.0, 0.0]))
    losses = surrogate(batch)
    assert losses["residual_divergence"] == losses["residual_curl"] == 0
    # The drift grows with t / (t + τ), here evenly spread over the points; half of the channels drift. The
    # second channel changes by its deviation in τ = 4 frames of 0.25 s.
    share = 1 - 1 / (1 + np.linspace(0, 2, 1001))
    assert losses["mean"].item() == pytest.approx(9 * np.mean(share**2) / 2, rel=0.15)


def test_a_mean_that_may_change_is_free() -> None:
    """As that of a flow which a force pushes along x."""
    pushed = built(flow(conserved=False), data_weight=0.0)
    assert pushed.drift.channels == []
    assert set(pushed(uniform(pushed))) == {"residual_divergence", "residual_curl"}


def test_the_mean_of_waves_is_no_drift() -> None:
    surrogate = built(flow(), data_weight=0.0, waves=2)
    x, y = surrogate.drift.lattice.T
    for number in (1, 2, 3, 4):
        for wave in (torch.sin(math.pi * number * x), torch.cos(math.pi * (x + number * y))):
            assert wave.mean().abs() < 1e-12
    assert "mean" not in built(problems.fading())(uniform(built(problems.fading())))


@pytest.mark.parametrize("problem", DETERMINED, ids=lambda problem: problem.spec.name)
def test_with_weight_0_no_frame_is_looked_at(problem: Problem) -> None:
    surrogate = built(problem, data_weight=0.0)
    batch = uniform(surrogate)
    blind = surrogate({"random": batch["random"]})  # type: ignore[typeddict-item]
    seeing = surrogate(batch)
    assert blind.keys() == seeing.keys()
    assert all(torch.equal(loss, seeing[name]) for name, loss in blind.items())


def test_the_equation_alone_teaches_the_solution() -> None:
    """Springs of 1 to 3 rad/s over a fifth of a second: after some steps the network knows how they swing."""
    problem = dataclasses.replace(problems.circling(), duration=0.2)
    surrogate = built(problem, data_weight=0.0, points=32, candidates=1)
    optimiser = torch.optim.LBFGS(surrogate.parameters(), max_iter=60, line_search_fn="strong_wolfe")
    batch = uniform(surrogate)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = torch.stack(list(surrogate(batch).values())).sum()
        loss.backward()
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    assert problem.initial_condition is not None
    rate = torch.tensor([2.5], dtype=torch.float64)
    angles = 2.0 * torch.arange(3, dtype=torch.float64) + rate * torch.tensor([[0.0], [0.2]])
    x, y = 50 * torch.cos(angles), 50 * torch.sin(angles)
    truth = torch.stack([x, y, -rate * y, rate * x], dim=1)
    found = surrogate.predict(truth[:1], {"power": 2.5, "mass": np.ones(3)}, np.array([0.0, 0.2])).mean[0]
    change = torch.linalg.vector_norm(truth[1] - truth[0])
    assert torch.linalg.vector_norm(found[1] - truth[1]) < 0.03 * change


def test_residuals_have_the_same_size_in_all_units() -> None:
    """In kilometres, and hours instead of seconds, what is left of the equation is the same number."""
    in_metres = line("dirichlet")
    in_kilometres = problems.changed(
        in_metres,
        sites=Grid((Axis("x", "km", 8, 1e-3, 3e-3, "dirichlet"),)),
        duration=2.0 / 3600,
        parameters=(Parameter("power", "1", "", 3600e-6, 3 * 3600e-6),),
    )
    assert Equation(in_kilometres).scales / Equation(in_metres).scales == pytest.approx(3600)


def test_what_parameters_do_not_tell_is_refused() -> None:
    cases = [
        (line("dirichlet", parametric=False), "the scalar parameters.* do not describe the initial fields"),
        (
            line("neumann", (0.0, 0.3)),
            "neumann walls without flux, and those of x have 0 and 0.3",
        ),
        (
            problems.problem(
                (8, 8), ("dirichlet",) * 2, parametric=True, boundary_values=((0.0, 0.0), (0.0, 1.0))
            ),
            "walls at 0 and 1 meet",
        ),
    ]
    for problem, said in cases:
        with pytest.raises(ValueError, match=rf"surrogate=pinn does not fit .*{said}.*Surrogates that fit: "):
            built(problem)
    wrong = {"width": 0, "points": 0, "candidates": 0, "causality": -1.0, "data_weight": -1.0}
    for option, value in wrong.items():
        with pytest.raises(ValueError, match=rf"surrogate\.{option}={value:g}"):
            built(line("dirichlet"), **{option: value})


def test_bodies_that_start_all_but_together_are_refused() -> None:
    """Here by springs whose stiffness has a pole at an end of the range."""
    even = problems.circling()
    assert PINN.incompatibility(even) is None
    stiff = even.residual

    def residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        assert stiff is not None
        return stiff(fields, derivative, {"power": (3.0 - parameters["power"]) ** -1})  # type: ignore[no-any-return]

    with pytest.raises(ValueError, match=r"start with \d+ times the usual forces.*set solver.softening"):
        built(dataclasses.replace(even, residual=residual))


def test_walls_of_one_axis_may_have_different_values() -> None:
    assert PINN.incompatibility(line("dirichlet", (0.0, 1.0))) is None


def test_times_outside_the_duration_are_told_or_refused() -> None:
    surrogate = built(line("dirichlet"))
    start, named = np.zeros((1, 1, 8)), {"power": 2.0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        surrogate.predict(start, named, np.array([0.0, 2.0]), strict=True)
    said = r"time=2.5 is outside the duration 0 to 2 .*1 of 2 times"
    with pytest.warns(ExtrapolationWarning, match=said):
        surrogate.predict(start, named, np.array([0.0, 2.5]))
    with pytest.raises(ValueError, match=said):
        surrogate.predict(start, named, np.array([0.0, 2.5]), strict=True)


def test_even_points_fill_the_box_and_follow_from_the_numbers() -> None:
    even = EvenPoints([(0.0, 2.0), (10.0, 20.0)], 64).double()
    numbers = torch.tensor([[0.0, 0.0], [0.9, 0.3]], dtype=torch.float64)
    points = even(numbers)
    assert points.shape == (2, 64, 2)
    assert torch.equal(points, even(numbers))
    for window in points:
        columns = (window - torch.tensor([0.0, 10.0])) / torch.tensor([2.0, 10.0])
        assert ((columns >= 0) & (columns < 1)).all()
        cells = (columns * 4).long()
        counts = torch.bincount(4 * cells[:, 0] + cells[:, 1], minlength=16)
        assert counts.min() >= 2
        assert counts.max() <= 6


def test_points_of_large_residual_are_preferred() -> None:
    places = torch.linspace(0, 1, 40, dtype=torch.float64)[None, :, None]
    size = torch.where(places[..., 0] > 0.5, 3.0, 1.0)
    chosen = preferred(places, size, torch.tensor([0.5], dtype=torch.float64), 20)[0, :, 0]
    # (3 / 2 + 1) of (3 / 2 + 1) + (1 / 2 + 1).
    assert (chosen > 0.5).sum() == pytest.approx(20 * 2.5 / 4, abs=1)
    even = preferred(places, torch.zeros_like(size), torch.tensor([0.3], dtype=torch.float64), 20)
    assert torch.equal(even[0, :, 0], places[0, 0::2, 0])


def test_points_wait_for_those_before_them() -> None:
    times = torch.tensor([[0.3, 0.1, 0.2], [0.1, 0.2, 0.3]], dtype=torch.float64)
    squares = torch.tensor([[5.0, 0.6, 0.3], [0.0, 0.0, 7.0]], dtype=torch.float64)
    weights = causal_weights(times, squares, 2.0)
    expected = [[math.exp(-2 * 0.9 / 3), 1.0, math.exp(-2 * 0.6 / 3)], [1.0, 1.0, 1.0]]
    torch.testing.assert_close(weights, torch.tensor(expected, dtype=torch.float64), rtol=1e-14, atol=0)


def test_causality_weighs_the_residual_and_leaves_the_data() -> None:
    problem = problems.circling()
    plain = built(problem, causality=0.0, candidates=1)
    causal = built(problem, causality=0.5, candidates=1)
    batch = uniform(plain)
    points = causal.points(batch)
    assert "weight" not in plain.points(batch)
    squares = plain.residuals(plain.points(batch))[:, :12].square().mean(1)
    losses, expected = causal(batch), plain(batch)
    ratio = (points["weight"] * squares).mean() / squares.mean()
    of_springs, of_plain = (
        sum(loss for name, loss in found.items() if name.startswith("residual_"))
        for found in (losses, expected)
    )
    torch.testing.assert_close(of_springs / of_plain, ratio, rtol=1e-12, atol=0)
    assert torch.equal(losses["data"], expected["data"])
    assert 0 < points["weight"].min() < points["weight"].max() == 1


@pytest.mark.parametrize("problem", DETERMINED, ids=lambda problem: problem.spec.name)
def test_the_residuals_are_one_graph_for_the_compiler(problem: Problem) -> None:
    surrogate = built(problem)
    points = surrogate.points(uniform(surrogate))
    traced = torch.compile(surrogate.residuals, backend="eager", fullgraph=True)
    torch.testing.assert_close(traced(points), surrogate.residuals(points), rtol=1e-12, atol=1e-12)
