"""The physics-informed operator network: residuals, training without data, and refusals."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from mpi4py import MPI

import configs
from pipeline.config.build import build_solver
from pipeline.problem import expected_problem, with_physics
from solvers.contract import Solver, SteppedTrajectory
from surrogates import store
from surrogates.contract import Batch, Problem
from surrogates.networks import taylor_mode
from surrogates.networks.taylor_mode import Jet
from surrogates.physics.grid_derivatives import GridDerivatives
from surrogates.pi_deeponet import PIDeepONet
from tests.support import problems


@pytest.fixture(autouse=True)
def _float64() -> object:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(("boundary", "order"), [("dirichlet", 6), ("neumann", 6)])
def test_differences_between_walls_converge_with_their_order(boundary: str, order: int) -> None:
    errors = []
    for size in (20, 40, 80):
        grid_derivatives = GridDerivatives(problems.grid_problem((size,), (boundary,)))
        x = 2 * (torch.arange(size) + 0.5) / size
        derivative = taylor_mode.derivative(grid_derivatives.jet(torch.sin(3 * x + 1)), "x").value
        errors.append((derivative - 3 * torch.cos(3 * x + 1)).abs().max().item())
    observed_orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert abs(observed_orders[-1] - order) < 0.3


@pytest.mark.parametrize("size", [16, 17])
def test_derivatives_along_a_periodic_axis_are_exact(size: int) -> None:
    grid_derivatives = GridDerivatives(problems.grid_problem((size,), ("periodic",)))
    angle = torch.pi * 2 * (torch.arange(size) + 0.5) / size
    first_derivative = taylor_mode.derivative(grid_derivatives.jet(torch.sin(5 * angle)), "x")
    second_derivative = taylor_mode.derivative(first_derivative, "x").value
    torch.testing.assert_close(second_derivative, -((5 * torch.pi) ** 2) * torch.sin(5 * angle))


def build_solver_from_yaml(name: str, **changes: Any) -> Solver:
    """Return a solver with changed options of its YAML."""
    options = yaml.safe_load((Path(configs.__path__[0]) / "solver" / f"{name}.yaml").read_text())
    for key, value in changes.items():
        options[key] = options[key] | value if isinstance(value, dict) else value
    return build_solver(options, MPI.COMM_SELF)


def problem_of(solver: Solver, times: np.ndarray) -> Problem:
    """Return the problem of a solver's data, with the standard deviation 1 for all channels."""
    return with_physics(expected_problem(solver.spec, times), solver)


def solve_window(solver: Solver, seed: int, times: np.ndarray) -> Batch:
    """Return a window of one trajectory at `times` (s), which start at 0."""
    parameters = solver.sample(np.random.default_rng(seed))
    trajectory = solver.prepare(parameters)
    assert isinstance(trajectory, SteppedTrajectory)
    states = [trajectory.initial_state]
    for time, next_time in itertools.pairwise(times):
        states.append(trajectory.advance(states[-1], time, next_time - time))
    fields = trajectory.coefficient_fields
    return {
        "state": torch.tensor(np.array(states))[None],
        "coefficient_fields": torch.tensor(np.empty((0, *solver.spec.shape)) if fields is None else fields)[
            None
        ],
        "parameters": torch.tensor([[float(parameters[name]) for name in solver.spec.parameter_names]]),
        "time": torch.tensor(times)[None],
    }


FINE_CASES = {
    "a bar of random material between walls": (
        "heat",
        {"extent": [1.0], "resolution": 1024, "tolerance": 1e-8, "initial": {"modes": 6},
         "boundary": {"x": "dirichlet"}, "boundary_values": {"x": [1.0, 2.0]}},
        40, 0.004, 0.02, 1e-4,
    ),
    "a square of random material": (
        "heat",
        {"resolution": 64, "initial": {"modes": 3}, "diffusivity": {"modes": 3}, "tolerance": 1e-6,
         "boundary": {"y": "neumann"}},
        20, 0.004, 0.02, 1e-2,
    ),
    "forced flow": ("navier_stokes", {"resolution": 64, "tolerance": 1e-9}, 22, 0.5, 0.1, 1e-3),
}  # fmt: skip


@pytest.mark.parametrize("case", FINE_CASES)
def test_the_residual_of_a_solved_trajectory_is_small(case: str) -> None:
    # The ansatz represents a trajectory on a fine grid by its initial state and mode amplitudes.
    name, changes, modes, time, step, tolerance = FINE_CASES[case]
    solver = build_solver_from_yaml(name, **changes)
    times = time + step * 0.01 * np.arange(-2, 3)
    frames = solve_window(solver, 3, np.concatenate([[0.0], times]))
    surrogate = PIDeepONet(
        problem_of(solver, np.array([0.0, 2 * time])),
        width=2, modes=modes, layers=1, functions=1, horizon_steps=1, times=1, data_weight=0.0,
    )  # fmt: skip
    initial_state, later_states = frames["state"][:, 0], frames["state"][0, 1:]
    weights = torch.tensor([1.0, -8.0, 0.0, 8.0, -1.0]) / (12 * step * 0.01)
    amplitudes = surrogate.trunk.coefficients((later_states[2:3] - initial_state).movedim(1, -1))[:, None]
    rates = torch.tensordot(weights, later_states, dims=1)[None]
    rates = surrogate.trunk.coefficients(rates.movedim(1, -1))[:, None]
    initial_jets = [
        surrogate.grid_derivatives.jet(initial_state[:, None, channel])
        for channel in range(initial_state.shape[1])
    ]
    predicted_jets = [
        jet + surrogate.trunk.field(Jet(amplitudes[:, :, channel], lambda axis, c=channel: rates[:, :, c]))
        for channel, jet in enumerate(initial_jets)
    ]
    duration = torch.full((1, 1), float(times[2]))
    residuals = surrogate.equation_residuals(frames, predicted_jets, duration)
    reference_residuals = surrogate.equation_residuals(
        frames, surrogate._decorrelated_jets(initial_jets), duration
    )
    assert residuals.keys() == reference_residuals.keys()
    for equation, values in residuals.items():
        assert values.shape == (1, 1, *surrogate.problem.spec.shape)
        assert (
            values.square().mean().sqrt() < tolerance * reference_residuals[equation].square().mean().sqrt()
        )


def test_the_operator_network_learns_heat_conduction_from_the_equation_without_data() -> None:
    # Materials and initial states are random. Only the first frames of the training windows are finite.
    solver = build_solver_from_yaml(
        "heat", extent=[1.0], resolution=32, initial={"modes": 3},
        diffusivity={"modes": 3, "log_deviation": [0.3, 0.5]},
    )  # fmt: skip
    times = np.linspace(0, 0.04, 5)
    windows = [solve_window(solver, seed, times) for seed in range(48)]
    data: Any = {key: torch.cat([window[key] for window in windows]) for key in windows[0]}
    std = data["state"].std().item()
    problem = problem_of(solver, times)
    statistics = dataclasses.replace(problem.statistics, std=(std,), delta_std=(std / 2,))
    problem = dataclasses.replace(problem, statistics=statistics)
    options = {
        "width": 16,
        "modes": 6,
        "layers": 2,
        "functions": 4,
        "horizon_steps": 4,
        "times": 4,
        "data_weight": 0.0,
    }
    surrogate = store.build("pi_deeponet", options, problem, "float64")
    training_windows = {key: value[:32] for key, value in data.items()}
    training_windows["state"] = training_windows["state"].clone()
    training_windows["state"][:, 1:] = torch.nan
    optimiser = torch.optim.Adam(surrogate.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=300)
    for step in range(300):
        rows = torch.arange(16 * step, 16 * step + 16) % 32
        batch = {key: value[rows] for key, value in training_windows.items()} | {"random": torch.rand(16, 4)}
        optimiser.zero_grad()
        sum(surrogate(batch).values()).backward()
        optimiser.step()
        schedule.step()
    test_windows: Any = {key: value[32:] for key, value in data.items()}
    parameters = problems.parameters_by_name(problem, test_windows)
    prediction = surrogate.predict(test_windows["state"][:, 0], parameters, times).mean
    initial_states, truth = test_windows["state"][:, :1], test_windows["state"]
    assert (prediction - truth).norm() < (initial_states - truth).norm() / 10


def test_data_weight_scales_the_loss_of_the_data() -> None:
    problem = problems.learnable_problem("pi_deeponet")
    losses = []
    for weight in (0.0, 1.0, 3.0):
        torch.manual_seed(0)
        options = problems.options("pi_deeponet") | {"data_weight": weight}
        surrogate = store.build("pi_deeponet", options, problem, "float64")
        batch = problems.batch(problem, 2, dtype=torch.float64, num_random=surrogate.num_random)
        losses.append(surrogate(batch))
    assert "data" not in losses[0]
    torch.testing.assert_close(losses[2]["data"], 3 * losses[1]["data"])
    assert set(losses[0]) | {"data"} == set(losses[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"initial": {"kind": "blobs"}}, "initial states do not satisfy the boundary conditions"),
        ({"initial": {"kind": "blobs"}, "boundary": {"x": "periodic"}}, None),
        ({"diffusivity": {"kind": "inclusions"}}, "a coefficient field is discontinuous"),
        ({"boundary_values": {"x": [1.0, 2.0]}}, None),
    ],
)
def test_incompatible_initial_states_and_discontinuous_coefficients_are_refused(
    changes: dict[str, Any], message: str | None
) -> None:
    bar: dict[str, Any] = {"extent": [1.0], "resolution": 64, "boundary": {"x": "dirichlet"}}
    problem = problem_of(build_solver_from_yaml("heat", **(bar | changes)), np.array([0.0, 0.1]))
    reason = PIDeepONet.incompatibility(problem)
    assert (reason is None) if message is None else (message in str(reason))


@pytest.mark.parametrize(
    "changes",
    [
        {"boundary_values": {"y": [0.0, 1.0]}},
        {"boundary": {"x": "neumann"}, "boundary_values": {"x": [0.0, 1.0]}},
    ],
)
def test_the_solver_declares_boundary_values_that_no_initial_state_satisfies(changes: dict[str, Any]) -> None:
    square: dict[str, Any] = {"resolution": 24, "boundary": {"x": "dirichlet", "y": "dirichlet"}}
    assert build_solver_from_yaml("heat", **square).spec.compatible_initial_state
    changed_options = {**square, **changes, "boundary": square["boundary"] | changes.get("boundary", {})}
    assert not build_solver_from_yaml("heat", **changed_options).spec.compatible_initial_state


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (
            problems.grid_problem((16,), ("neumann",), boundary_values=((0.0, 2.0),)),
            "the walls of axis x have the fluxes 0 and 2",
        ),
        (
            problems.grid_problem((16, 17), ("dirichlet",) * 2, boundary_values=((0.0, 0.0), (0.0, 1.0))),
            "dirichlet walls with the values 0 and 1 meet",
        ),
    ],
    ids=["flux", "edge"],
)
def test_boundary_values_that_the_modes_cannot_satisfy_are_refused(problem: Problem, message: str) -> None:
    with pytest.raises(ValueError, match=rf"{message}.*Surrogates that fit: .*fno"):
        store.build("pi_deeponet", problems.options("pi_deeponet"), problem, "float64")


@pytest.mark.parametrize(("option", "value"), [("times", 0), ("data_weight", -1.0)])
def test_options_out_of_range_are_refused(option: str, value: float) -> None:
    options = problems.options("pi_deeponet") | {option: value}
    with pytest.raises(ValueError, match=rf"surrogate\.{option}={value:g} is too small"):
        store.build("pi_deeponet", options, problems.learnable_problem("pi_deeponet"), "float64")
