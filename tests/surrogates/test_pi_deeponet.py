"""The physics-informed operator network: its residual against the solvers, and learning without data."""

from __future__ import annotations

import dataclasses
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
from solvers.contract import Solver
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
def test_differences_between_walls_converge_as_they_should(boundary: str, order: int) -> None:
    errors = []
    for size in (20, 40, 80):
        sampled = GridDerivatives(problems.problem((size,), (boundary,)))
        x = 2 * (torch.arange(size) + 0.5) / size
        slope = taylor_mode.derivative(sampled.jet(torch.sin(3 * x + 1)), "x").value
        errors.append((slope - 3 * torch.cos(3 * x + 1)).abs().max().item())
    observed = np.log2(np.array(errors[:-1]) / errors[1:])
    assert abs(observed[-1] - order) < 0.3


@pytest.mark.parametrize("size", [16, 17])
def test_derivatives_along_a_periodic_axis_are_exact(size: int) -> None:
    sampled = GridDerivatives(problems.problem((size,), ("periodic",)))
    angle = torch.pi * 2 * (torch.arange(size) + 0.5) / size
    found = taylor_mode.derivative(taylor_mode.derivative(sampled.jet(torch.sin(5 * angle)), "x"), "x").value
    torch.testing.assert_close(found, -((5 * torch.pi) ** 2) * torch.sin(5 * angle))


def solver(name: str, **changes: Any) -> Solver:
    """A solver as its YAML builds it, with changes."""
    plain = yaml.safe_load((Path(configs.__path__[0]) / "solver" / f"{name}.yaml").read_text())
    for key, value in changes.items():
        plain[key] = plain[key] | value if isinstance(value, dict) else value
    return build_solver(plain, MPI.COMM_SELF)


def problem_of(of: Solver, times: np.ndarray) -> Problem:
    """The problem of a solver's data, whose channels all have the standard deviation 1."""
    return with_physics(expected_problem(dataclasses.asdict(of.spec), times), of)


def solved(of: Solver, seed: int, times: np.ndarray) -> Batch:
    """One trajectory at `times`."""
    parameters = of.sample(np.random.default_rng(seed))
    states, now = [of.initial_state(parameters)], 0.0
    for time in times:
        if time > now:
            states.append(of.advance(states[-1], parameters, now, time - now))
            now = time
    return {
        "state": torch.tensor(np.array(states[len(states) - len(times) :]))[None],
        "coefficient_fields": torch.tensor(of.coefficients(parameters))[None],
        "parameters": torch.tensor([[float(parameters[each.name]) for each in of.spec.parameters]]),
        "time": torch.tensor(times)[None],
    }


FINE = {
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


@pytest.mark.parametrize("case", FINE)
def test_what_the_solver_computes_solves_the_equation(case: str) -> None:
    """The start and the change from it, as the network would give them, from a finely solved trajectory."""
    name, changes, modes, later, step, small = FINE[case]
    of = solver(name, **changes)
    times = later + step * 0.01 * np.arange(-2, 3)
    frames = solved(of, 3, np.concatenate([[0.0], times]))
    surrogate = PIDeepONet(
        problem_of(of, np.array([0.0, 2 * later])),
        width=2, modes=modes, layers=1, functions=1, horizon_steps=1, times=1, data_weight=0.0,
    )  # fmt: skip
    start, after = frames["state"][:, 0], frames["state"][0, 1:]
    weights = torch.tensor([1.0, -8.0, 0.0, 8.0, -1.0]) / (12 * step * 0.01)
    amplitudes = surrogate.trunk.coefficients((after[2:3] - start).movedim(1, -1))[:, None]
    slopes = torch.tensordot(weights, after, dims=1)[None]
    slopes = surrogate.trunk.coefficients(slopes.movedim(1, -1))[:, None]
    at_start = [surrogate.sampled.jet(start[:, None, place]) for place in range(start.shape[1])]
    now = [
        jet + surrogate.trunk.field(Jet(amplitudes[:, :, place], lambda axis, p=place: slopes[:, :, p]))
        for place, jet in enumerate(at_start)
    ]
    when = torch.full((1, 1), float(times[2]))
    found = surrogate.equations(frames, now, when)
    typical = surrogate.equations(frames, surrogate._apart(at_start), when)
    assert found.keys() == typical.keys()
    for equation, values in found.items():
        assert values.shape == (1, 1, *surrogate.problem.spec.shape)
        assert values.square().mean().sqrt() < small * typical[equation].square().mean().sqrt()


def test_learns_heat_conduction_from_the_equation_alone() -> None:
    """Random materials and states; no frame but the first is ever seen."""
    of = solver(
        "heat", extent=[1.0], resolution=32, initial={"modes": 3},
        diffusivity={"modes": 3, "log_deviation": [0.3, 0.5]},
    )  # fmt: skip
    times = np.linspace(0, 0.04, 5)
    cases = [solved(of, seed, times) for seed in range(48)]
    whole: Any = {key: torch.cat([case[key] for case in cases]) for key in cases[0]}
    std = whole["state"].std().item()
    problem = problem_of(of, times)
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
    seen = {key: value[:32] for key, value in whole.items()}
    seen["state"] = seen["state"].clone()
    seen["state"][:, 1:] = torch.nan
    optimiser = torch.optim.Adam(surrogate.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=300)
    for step in range(300):
        chosen = torch.arange(16 * step, 16 * step + 16) % 32
        batch = {key: value[chosen] for key, value in seen.items()} | {"random": torch.rand(16, 4)}
        optimiser.zero_grad()
        sum(surrogate(batch).values()).backward()
        optimiser.step()
        schedule.step()
    test: Any = {key: value[32:] for key, value in whole.items()}
    found = surrogate.predict(test["state"][:, 0], problems.parameters_by_name(problem, test), times).mean
    start, truth = test["state"][:, :1], test["state"]
    assert (found - truth).norm() < (start - truth).norm() / 10


def test_the_data_have_the_weight_that_they_are_given() -> None:
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
    ("changes", "said"),
    [
        ({"initial": {"kind": "blobs"}}, "initial states do not meet the conditions at the walls"),
        ({"initial": {"kind": "blobs"}, "boundary": {"x": "periodic"}}, None),
        ({"diffusivity": {"kind": "inclusions"}}, "a coefficient field jumps"),
        ({"boundary_values": {"x": [1.0, 2.0]}}, None),
    ],
)
def test_starts_that_miss_the_walls_and_jumps_are_refused(changes: dict[str, Any], said: str | None) -> None:
    """As the solver tells them."""
    bar: dict[str, Any] = {"extent": [1.0], "resolution": 64, "boundary": {"x": "dirichlet"}}
    problem = problem_of(solver("heat", **(bar | changes)), np.array([0.0, 0.1]))
    reason = PIDeepONet.incompatibility(problem)
    assert (reason is None) if said is None else (said in str(reason))


@pytest.mark.parametrize(
    "changes",
    [
        {"boundary_values": {"y": [0.0, 1.0]}},
        {"boundary": {"x": "neumann"}, "boundary_values": {"x": [0.0, 1.0]}},
    ],
)
def test_walls_that_no_start_meets_are_told_by_the_solver(changes: dict[str, Any]) -> None:
    square: dict[str, Any] = {"resolution": 24, "boundary": {"x": "dirichlet", "y": "dirichlet"}}
    assert solver("heat", **square).spec.compatible
    merged = {**square, **changes, "boundary": square["boundary"] | changes.get("boundary", {})}
    assert not solver("heat", **merged).spec.compatible


def test_what_it_cannot_learn_is_refused() -> None:
    heated = problems.problem((16,), ("neumann",), boundary_values=((0.0, 2.0),))
    jumping = problems.problem((16, 17), ("dirichlet",) * 2, boundary_values=((0.0, 0.0), (0.0, 1.0)))
    for problem, said in (
        (heated, "walls without flux, but the walls of axis x have the fluxes 0 and 2"),
        (jumping, "dirichlet walls with the values 0 and 1 meet"),
    ):
        with pytest.raises(ValueError, match=rf"{said}.*Surrogates that fit: .*fno"):
            store.build("pi_deeponet", problems.options("pi_deeponet"), problem, "float64")
    for wrong, said in (({"times": 0}, "times=0"), ({"data_weight": -1.0}, "data_weight=-1")):
        with pytest.raises(ValueError, match=said):
            store.build(
                "pi_deeponet",
                problems.options("pi_deeponet") | wrong,
                problems.learnable_problem("pi_deeponet"),
                "float64",
            )
