"""Hard constraints hold to round-off in long rollouts of random weights, and are orthogonal projections."""

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

from simsurrogate.spec import Field
from surrogates import store
from surrogates.contract import Problem, Surrogate, surrogate_class, surrogate_names
from surrogates.grids.constraints import Constraints
from surrogates.pi_deeponet import PIDeepONet
from tests.support import problems

NAMES = [
    name for name in surrogate_names() if "constraints" in inspect.signature(surrogate_class(name)).parameters
]
CLOSED = problems.parametric(
    (16, 17),
    ("periodic", "neumann"),
    fields=(Field("temperature", "K", "", conserved=True), Field("pressure", "Pa", "")),
)
FLOWS = [problems.flow(sites) for sites in ((16, 17), (17, 16), (8, 9, 10))]
#: Surrogates that fulfil the boundary conditions by their form.
EXACT_AT_WALLS = {"pinn", "pi_deeponet"}
WITH_BOUNDARY = [name for name in NAMES if name not in EXACT_AT_WALLS]
#: Sites, boundaries and boundary values.
WALLS: dict[str, tuple[tuple[int, ...], tuple[str, ...], tuple[tuple[float, float], ...]]] = {
    "bar": ((20,), ("dirichlet",), ((290.0, 310.0),)),
    "three cells": ((3, 8), ("dirichlet", "periodic"), ((290.0, 310.0), (0.0, 0.0))),
    "four cells": ((8, 4), ("neumann", "dirichlet"), ((0.0, 0.0), (290.0, 310.0))),
    "equal walls": ((16, 17), ("dirichlet", "dirichlet"), ((300.0, 300.0), (300.0, 300.0))),
    "one hot wall": ((16, 17), ("dirichlet", "dirichlet"), ((300.0, 310.0), (300.0, 300.0))),
    "box": ((9, 8, 10), ("dirichlet", "periodic", "dirichlet"), ((1.0, 1.0), (0.0, 0.0), (1.0, 1.0))),
}


def with_walls(case: str) -> Problem:
    sites, boundaries, values = WALLS[case]
    return problems.parametric(sites, boundaries, boundary_values=values)


@pytest.fixture
def double() -> Iterator[None]:
    default_dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(default_dtype)


def build(name: str, problem: Problem, *constraints: str) -> Surrogate:
    """Return a surrogate with weights so large that a rollout of 20 steps changes the state a lot."""
    torch.manual_seed(1)
    largest = problems.LARGEST_OPTION
    if not problem.spec.has_particles:
        largest = min(largest, min(problem.spec.shape) // 2)
    options = problems.options(name, largest) | {"constraints": list(constraints)}
    surrogate = store.build(name, options, problem, "float64")
    with torch.no_grad():
        for weight in surrogate.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    return surrogate


@functools.cache
def build_free(name: str, problem: Problem) -> Surrogate:
    """Return a surrogate without constraints, shared by the tests."""
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
    """Return the values at both ends of an axis, by Lagrange's parabola through three cell centres."""
    lines = state.movedim(axis - state.ndim + 2, -1)
    ends = [lines.narrow(-1, 0, 3), lines.flip(-1).narrow(-1, 0, 3)]
    centres, wall = [0.5, 1.5, 2.5], 0.0
    weights = [
        np.prod([(wall - other) / (centre - other) for other in centres if other != centre])
        for centre in centres
    ]
    return torch.stack([sum(w * end[..., i] for i, w in enumerate(weights)) for end in ends], dim=-1)


@pytest.mark.parametrize(
    ("problem", "constraint"),
    [(CLOSED, "mean"), (with_walls("one hot wall"), "boundary"), (FLOWS[0], "divergence")],
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
    """Return the root mean square of the spectral divergence of (D, *sites), and of its largest term."""
    terms = []
    for axis, length in enumerate(extent):
        size = velocity.shape[axis + 1]
        wave_numbers = 2 * np.pi * np.fft.fftfreq(size, length / size)
        if size % 2 == 0:
            wave_numbers[size // 2] = 0.0
        shape = [-1 if other == axis else 1 for other in range(len(extent))]
        modes = np.fft.fft(velocity[axis].numpy(), axis=axis)
        terms.append(np.fft.ifft(1j * wave_numbers.reshape(shape) * modes, axis=axis).real)
    return float(np.std(sum(terms))), max(float(np.std(term)) for term in terms)


@pytest.mark.parametrize("name", NAMES)
def test_the_mean_of_conserved_channels_stays_constant(name: str) -> None:
    begin, end = rollout(build(name, CLOSED, "mean")).mean((-1, -2)).unbind(1)
    free = rollout(build_free(name, CLOSED)).mean((-1, -2))
    drift = (end - begin).abs() / torch.tensor(CLOSED.statistics.std)
    assert drift[:, 0].max() < 1e-13 * 30  # the mean is 30 standard deviations
    assert drift[:, 1].min() > 1e-3
    assert (free[:, 1] - free[:, 0]).abs()[:, 0].min() > 1e-2


@pytest.mark.parametrize("case", WALLS)
@pytest.mark.parametrize("name", WITH_BOUNDARY)
def test_the_walls_have_their_boundary_values(name: str, case: str) -> None:
    problem = with_walls(case)
    state = rollout(build(name, problem, "boundary"))[:, 1]
    for axis, kind in enumerate(problem.spec.boundaries):
        if kind != "dirichlet":
            continue
        values = wall_values(state, axis)
        if case == "one hot wall":  # lines within three cells of a wall with another value are free
            values = values[..., 3:-3, :]
        error = (values - torch.tensor(problem.spec.boundary_values[axis])).abs().amax()
        assert error < 1e-11 * state.abs().max()


@pytest.mark.parametrize("problem", FLOWS, ids=lambda problem: str(problem.spec.shape))
@pytest.mark.parametrize("name", NAMES)
def test_the_velocity_is_divergence_free(name: str, problem: Problem) -> None:
    _, constrained = rollout(build(name, problem, "mean", "divergence")).unbind(1)
    _, free = rollout(build_free(name, problem)).unbind(1)
    for constrained_velocity, free_velocity in zip(constrained[:, 1:], free[:, 1:], strict=True):
        total, term = divergence(constrained_velocity, problem.spec.extent)
        assert total < 1e-13 * term
        total, term = divergence(free_velocity, problem.spec.extent)
        assert total > 0.1 * term


@pytest.mark.parametrize(
    ("problem", "names"),
    [
        (CLOSED, ["mean"]),
        (FLOWS[0], ["mean", "divergence"]),
        *[(with_walls(case), ["boundary"]) for case in WALLS],
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else str(value.spec.shape),
)
@pytest.mark.usefixtures("double")
def test_the_constraints_are_an_orthogonal_projection(problem: Problem, names: Any) -> None:
    """A second projection changes nothing; the correction is normal to differences of constrained states."""
    count = len(problem.spec.channels)
    units = dataclasses.replace(problem.statistics, mean=(0.0,) * count, std=(1.0,) * count)
    constraints = Constraints(dataclasses.replace(problem, statistics=units), names)
    generator = torch.Generator().manual_seed(3)
    shape = (2, *problem.spec.shape, len(problem.spec.channels))
    state, other, start = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3))
    first, second = constraints(state, start), constraints(other, start)
    assert not torch.allclose(first, state)
    torch.testing.assert_close(constraints(first, start), first, rtol=0, atol=1e-10)
    correction, difference = (state - first).flatten(), (second - first).flatten()
    if problem != with_walls("one hot wall"):  # with it, constrained lines cross free lines
        assert abs(correction @ difference) < 1e-10 * correction.norm() * difference.norm()
        assert (first - second).norm() < (state - second).norm()


@pytest.mark.parametrize(
    ("name", "problem", "names"),
    [
        *itertools.product(NAMES, [CLOSED], [["mean"]]),
        *itertools.product(NAMES, FLOWS[:1], [["mean", "divergence"]]),
        *itertools.product(WITH_BOUNDARY, [with_walls("equal walls")], [["boundary"]]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else str(value)[:12].strip(),
)
def test_gradients_flow_through_a_rollout(name: str, problem: Problem, names: Any) -> None:
    surrogate = build(name, problem, *names)
    batch = problems.batch(problem, size=4, dtype=torch.float64, num_random=surrogate.num_random)
    total = sum(surrogate(batch).values())
    total.backward()  # type: ignore[union-attr]
    for weight in surrogate.parameters():
        assert weight.grad is not None
        assert torch.isfinite(weight.grad).all()
    halves = [{key: value[half] for key, value in batch.items()} for half in (slice(0, 2), slice(2, 4))]
    mean = sum(sum(surrogate(half).values()) for half in halves) / 2
    torch.testing.assert_close(mean, total, rtol=1e-12, atol=0)


@pytest.mark.usefixtures("double")
def test_constraints_on_amplitudes_equal_constraints_on_the_field() -> None:
    """The residual of `pi_deeponet` uses constrained amplitudes."""
    surrogate = build("pi_deeponet", FLOWS[0], "mean", "divergence")
    assert isinstance(surrogate, PIDeepONet)
    torch.manual_seed(2)
    amplitudes = torch.randn(2, 3, len(FLOWS[0].spec.channels), 15, 15)
    free, constrained = (
        surrogate.trunk.field(tensor).value.movedim(2, -1)
        for tensor in (amplitudes, surrogate._apply_constraints(amplitudes))
    )
    expected = surrogate.constraints(free, torch.zeros_like(free))
    assert not torch.allclose(free, expected)
    torch.testing.assert_close(constrained, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", sorted(EXACT_AT_WALLS))
def test_a_built_in_constraint_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="boundary is built into the form of this surrogate"):
        build(name, with_walls("equal walls"), "boundary")


def test_particles_are_refused() -> None:
    with pytest.raises(ValueError, match=r"constraints=\['mean'\] hold on the cells of a grid.* 3 particles"):
        build("mlp", problems.particles(), "mean")


def test_a_repeated_constraint_is_refused() -> None:
    with pytest.raises(ValueError, match=r"constraints=\['mean', 'mean'\] names a constraint twice"):
        build("fno", CLOSED, "mean", "mean")


@pytest.mark.parametrize(
    ("problem", "constraint", "message"),
    [
        (with_walls("bar"), "mean", "mean cannot hold .*The means of temperature, pressure change"),
        (CLOSED, "boundary", "boundary cannot hold .*periodic, neumann is dirichlet"),
        (
            problems.problem((2, 8), ("dirichlet", "periodic")),
            "boundary",
            "boundary needs 3 cells between the walls of x, which has 2",
        ),
        (CLOSED, "divergence", "divergence cannot hold .*temperature, pressure belongs to a divergence-free"),
        (
            problems.changed(FLOWS[0], sites=CLOSED.spec.sites),
            "divergence",
            "need periodic axes, but the boundaries are periodic, neumann",
        ),
    ],
)
def test_a_constraint_that_cannot_hold_is_refused(problem: Problem, constraint: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"surrogate\.constraints: .*{message}"):
        Constraints(problem, [constraint])
