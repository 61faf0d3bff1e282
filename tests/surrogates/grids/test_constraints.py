"""Hard constraints: errors in long rollouts with random weights, and the properties of a projection."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from simsurrogate.spec import Coarsening, Field
from surrogates import store
from surrogates.contract import Problem, Surrogate, surrogate_class, surrogate_names
from surrogates.grids.constraints import Constraints
from surrogates.pi_deeponet import PIDeepONet
from tests.support import problems
from tests.support.surrogate_cases import FramesInMemory

NAMES = [
    name for name in surrogate_names() if "constraints" in inspect.signature(surrogate_class(name)).parameters
]
CLOSED_PROBLEM = problems.parametric_problem(
    (16, 17),
    ("periodic", "neumann"),
    fields=(Field("temperature", "K", "", conserved=True), Field("pressure", "Pa", "")),
)
FLOWS = [problems.flow_problem(sites) for sites in ((16, 17), (17, 16), (8, 9, 10))]
#: Surrogates with built-in boundary conditions.
NAMES_WITH_BUILT_IN_WALLS = {"pinn", "pi_deeponet"}
BOUNDARY_NAMES = [name for name in NAMES if name not in NAMES_WITH_BUILT_IN_WALLS]
#: Sites, boundary conditions and boundary values.
WALLS: dict[str, tuple[tuple[int, ...], tuple[str, ...], tuple[tuple[float, float], ...]]] = {
    "bar": ((20,), ("dirichlet",), ((290.0, 310.0),)),
    "three cells": ((3, 8), ("dirichlet", "periodic"), ((290.0, 310.0), (0.0, 0.0))),
    "four cells": ((8, 4), ("neumann", "dirichlet"), ((0.0, 0.0), (290.0, 310.0))),
    "equal walls": ((16, 17), ("dirichlet", "dirichlet"), ((300.0, 300.0), (300.0, 300.0))),
    "one hot wall": ((16, 17), ("dirichlet", "dirichlet"), ((300.0, 310.0), (300.0, 300.0))),
    "box": ((9, 8, 10), ("dirichlet", "periodic", "dirichlet"), ((1.0, 1.0), (0.0, 0.0), (1.0, 1.0))),
}


def problem_with_walls(case: str) -> Problem:
    sites, boundaries, values = WALLS[case]
    return problems.parametric_problem(sites, boundaries, boundary_values=values)


@pytest.fixture
def _float64_default() -> Iterator[None]:
    default_dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(default_dtype)


def build(name: str, problem: Problem, *constraints: str) -> Surrogate:
    """Return a surrogate with large random weights, which change the state strongly in 20 steps."""
    torch.manual_seed(1)
    largest = problems.LARGEST_INTEGER
    if not problem.spec.has_particles:
        largest = min(largest, min(problem.spec.shape) // 2)
    options = problems.options(name, largest) | {"constraints": list(constraints)}
    surrogate = store.build(name, options, problem, "float64")
    surrogate.initialise(
        FramesInMemory(problems.batch(problem, size=6, frames=4, dtype=torch.float64)["state"])
    )
    with torch.no_grad():
        for weight in surrogate.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    return surrogate


@functools.cache
def build_unconstrained(name: str, problem: Problem) -> Surrogate:
    """Return a surrogate without constraints, which the tests share."""
    return build(name, problem)


def rollout(surrogate: Surrogate, steps: int = 20) -> torch.Tensor:
    """Return the states (B, 2, C, *sites) at the start and after `steps` time steps."""
    problem = surrogate.problem
    batch = problems.batch(problem, size=2, dtype=torch.float64)
    times = np.array([0.0, steps * problem.time_step])
    parameters = problems.parameters_by_name(problem, batch)
    states = surrogate.predict(batch["state"][:, 0], parameters, times).mean
    assert torch.isfinite(states).all()
    return states


def wall_values(state: torch.Tensor, axis: int) -> torch.Tensor:
    """Return the values at both ends of an axis by a parabola through three cell centres."""
    lines = state.movedim(axis - state.ndim + 2, -1)
    end_cells = [lines.narrow(-1, 0, 3), lines.flip(-1).narrow(-1, 0, 3)]
    centres, wall_position = [0.5, 1.5, 2.5], 0.0
    weights = [
        np.prod(
            [
                (wall_position - other_centre) / (centre - other_centre)
                for other_centre in centres
                if other_centre != centre
            ]
        )
        for centre in centres
    ]
    return torch.stack([sum(w * cells[..., i] for i, w in enumerate(weights)) for cells in end_cells], dim=-1)


@pytest.mark.usefixtures("_float64_default")
def test_averages_of_a_parabola_meet_their_walls() -> None:
    problem = problem_with_walls("bar")
    coarse_spec = dataclasses.replace(problem.spec, coarsening=Coarsening((4,), "cell_averages"))
    edges = torch.linspace(0.0, 1.0, 21)
    averages = 20 * (290 * edges + 15 * edges**2 - 10 * edges**3 / 3).diff()
    mean, std = (torch.tensor(values) for values in (problem.statistics.mean, problem.statistics.std))
    state = ((averages[:, None] - mean) / std)[None]
    for spec, is_kept in ((coarse_spec, True), (problem.spec, False)):
        result = Constraints(dataclasses.replace(problem, spec=spec), ["boundary"])(state, state)
        assert torch.allclose(result, state, rtol=0, atol=1e-9) == is_kept


@pytest.mark.parametrize(
    ("problem", "constraint"),
    [(CLOSED_PROBLEM, "mean"), (problem_with_walls("one hot wall"), "boundary"), (FLOWS[0], "divergence")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mixed_precision_does_not_apply_to_constraints(problem: Problem, constraint: Any) -> None:
    constraints = Constraints(problem, [constraint])
    torch.manual_seed(0)
    state, start = torch.randn(2, 2, *problem.spec.shape, len(problem.spec.channels))
    expected = constraints(state, start)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(constraints(state, start), expected)


def divergence(velocity: torch.Tensor, extent: tuple[float, ...]) -> tuple[float, float]:
    """Return the standard deviation of the spectral divergence of (D, *sites), and of its largest term."""
    terms = []
    for axis, length in enumerate(extent):
        size = velocity.shape[axis + 1]
        wave_numbers = 2 * np.pi * np.fft.fftfreq(size, length / size)
        if size % 2 == 0:
            wave_numbers[size // 2] = 0.0
        shape = [-1 if other_axis == axis else 1 for other_axis in range(len(extent))]
        modes = np.fft.fft(velocity[axis].numpy(), axis=axis)
        terms.append(np.fft.ifft(1j * wave_numbers.reshape(shape) * modes, axis=axis).real)
    return float(np.std(sum(terms))), max(float(np.std(term)) for term in terms)


@pytest.mark.parametrize("name", NAMES)
def test_the_mean_of_conserved_channels_stays_constant(name: str) -> None:
    means_at_start, means_at_end = rollout(build(name, CLOSED_PROBLEM, "mean")).mean((-1, -2)).unbind(1)
    unconstrained_means = rollout(build_unconstrained(name, CLOSED_PROBLEM)).mean((-1, -2))
    drift = (means_at_end - means_at_start).abs() / torch.tensor(CLOSED_PROBLEM.statistics.std)
    assert drift[:, 0].max() < 1e-13 * 30  # the mean is 30 standard deviations
    assert drift[:, 1].min() > 1e-3
    assert (unconstrained_means[:, 1] - unconstrained_means[:, 0]).abs()[:, 0].min() > 1e-2


@pytest.mark.parametrize("case", WALLS)
@pytest.mark.parametrize("name", BOUNDARY_NAMES)
def test_the_walls_have_their_boundary_values(name: str, case: str) -> None:
    problem = problem_with_walls(case)
    state = rollout(build(name, problem, "boundary"))[:, 1]
    for axis, kind in enumerate(problem.spec.boundaries):
        if kind != "dirichlet":
            continue
        values = wall_values(state, axis)
        if case == "one hot wall":  # lines within three cells of the other walls are unconstrained
            values = values[..., 3:-3, :]
        error = (values - torch.tensor(problem.spec.boundary_values[axis])).abs().amax()
        assert error < 1e-11 * state.abs().max()


@pytest.mark.parametrize("problem", FLOWS, ids=lambda problem: str(problem.spec.shape))
@pytest.mark.parametrize("name", NAMES)
def test_the_velocity_is_divergence_free(name: str, problem: Problem) -> None:
    _, constrained_states = rollout(build(name, problem, "mean", "divergence")).unbind(1)
    _, unconstrained_states = rollout(build_unconstrained(name, problem)).unbind(1)
    for constrained_velocity, unconstrained_velocity in zip(
        constrained_states[:, 1:], unconstrained_states[:, 1:], strict=True
    ):
        total, term = divergence(constrained_velocity, problem.spec.extent)
        assert total < 1e-13 * term
        total, term = divergence(unconstrained_velocity, problem.spec.extent)
        assert total > 0.1 * term


@pytest.mark.parametrize(
    ("problem", "constraint_names"),
    [
        (CLOSED_PROBLEM, ["mean"]),
        (FLOWS[0], ["mean", "divergence"]),
        *[(problem_with_walls(case), ["boundary"]) for case in WALLS],
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else str(value.spec.shape),
)
@pytest.mark.usefixtures("_float64_default")
def test_the_constraints_are_an_orthogonal_projection(problem: Problem, constraint_names: Any) -> None:
    # A second projection changes nothing, and corrections are normal to constrained differences.
    num_channels = len(problem.spec.channels)
    unit_statistics = dataclasses.replace(
        problem.statistics, mean=(0.0,) * num_channels, std=(1.0,) * num_channels
    )
    constraints = Constraints(dataclasses.replace(problem, statistics=unit_statistics), constraint_names)
    generator = torch.Generator().manual_seed(3)
    shape = (2, *problem.spec.shape, len(problem.spec.channels))
    state, other_state, start = (
        torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3)
    )
    projected_state, other_projected_state = constraints(state, start), constraints(other_state, start)
    assert not torch.allclose(projected_state, state)
    torch.testing.assert_close(constraints(projected_state, start), projected_state, rtol=0, atol=1e-10)
    correction, difference = (
        (state - projected_state).flatten(),
        (other_projected_state - projected_state).flatten(),
    )
    if problem != problem_with_walls("one hot wall"):  # constrained lines cross unconstrained lines
        assert abs(correction @ difference) < 1e-10 * correction.norm() * difference.norm()
        assert (projected_state - other_projected_state).norm() < (state - other_projected_state).norm()


@pytest.mark.parametrize(
    ("name", "problem", "constraint_names"),
    [
        *itertools.product(NAMES, [CLOSED_PROBLEM], [["mean"]]),
        *itertools.product(NAMES, FLOWS[:1], [["mean", "divergence"]]),
        *itertools.product(BOUNDARY_NAMES, [problem_with_walls("equal walls")], [["boundary"]]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else str(value)[:12].strip(),
)
def test_gradients_of_a_rollout_are_finite(name: str, problem: Problem, constraint_names: Any) -> None:
    surrogate = build(name, problem, *constraint_names)
    batch = problems.batch(problem, size=4, dtype=torch.float64, num_random=surrogate.num_random)
    total = sum(surrogate(batch).values())
    total.backward()  # type: ignore[union-attr]
    for weight in surrogate.parameters():
        assert weight.grad is not None
        assert torch.isfinite(weight.grad).all()
    halves = [{key: value[half] for key, value in batch.items()} for half in (slice(0, 2), slice(2, 4))]
    mean = sum(sum(surrogate(half).values()) for half in halves) / 2
    torch.testing.assert_close(mean, total, rtol=1e-12, atol=0)


@pytest.mark.usefixtures("_float64_default")
def test_constraints_on_amplitudes_equal_constraints_on_the_field() -> None:
    # The residual of `pi_deeponet` uses constrained amplitudes.
    surrogate = build("pi_deeponet", FLOWS[0], "mean", "divergence")
    assert isinstance(surrogate, PIDeepONet)
    torch.manual_seed(2)
    amplitudes = torch.randn(2, 3, len(FLOWS[0].spec.channels), 15, 15)
    unconstrained_field, constrained_field = (
        surrogate.trunk.field(tensor).value.movedim(2, -1)
        for tensor in (amplitudes, surrogate._apply_constraints(amplitudes))
    )
    expected = surrogate.constraints(unconstrained_field, torch.zeros_like(unconstrained_field))
    assert not torch.allclose(unconstrained_field, expected)
    torch.testing.assert_close(constrained_field, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", sorted(NAMES_WITH_BUILT_IN_WALLS))
def test_a_built_in_constraint_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="boundary is built into the form of this surrogate"):
        build(name, problem_with_walls("equal walls"), "boundary")


def test_particles_are_refused() -> None:
    with pytest.raises(ValueError, match=r"constraints=\['mean'\] hold on the cells of a grid.* 3 particles"):
        build("mlp", problems.particle_problem(), "mean")


def test_a_repeated_constraint_is_refused() -> None:
    with pytest.raises(ValueError, match=r"constraints=\['mean', 'mean'\] names a constraint twice"):
        build("fno", CLOSED_PROBLEM, "mean", "mean")


@pytest.mark.parametrize(
    ("problem", "constraint", "message"),
    [
        (problem_with_walls("bar"), "mean", "mean cannot hold .*The means of temperature, pressure change"),
        (CLOSED_PROBLEM, "boundary", "boundary cannot hold .*periodic, neumann is dirichlet"),
        (
            problems.grid_problem((2, 8), ("dirichlet", "periodic")),
            "boundary",
            "boundary needs 3 cells between the walls of x, which has 2",
        ),
        (
            CLOSED_PROBLEM,
            "divergence",
            "divergence cannot hold .*temperature, pressure belongs to a divergence-free",
        ),
        (
            problems.change_problem(FLOWS[0], sites=CLOSED_PROBLEM.spec.sites),
            "divergence",
            "need periodic axes, but the boundaries are periodic, neumann",
        ),
    ],
)
def test_a_constraint_that_cannot_hold_is_refused(problem: Problem, constraint: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"surrogate\.constraints: .*{message}"):
        Constraints(problem, [constraint])
