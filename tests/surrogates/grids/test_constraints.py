"""Hard constraints hold to round-off in long roll-outs of random weights, and what they ask is the truth."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.config.settings import Training
from pipeline.parallel.stopping import StoppedError
from pipeline.training import loop
from pipeline.training.step import Model
from pipeline.training.train_state import TrainState
from surrogates import store
from surrogates.contract import Batch, Problem, Surrogate, surrogate_class, surrogate_names
from surrogates.grids.constraints import Constraints
from surrogates.pi_deeponet import PIDeepONet
from tests.support import problems
from tests.support.training_cases import made_dataset, same, trained

NAMES = [
    name for name in surrogate_names() if "constraints" in inspect.signature(surrogate_class(name)).parameters
]
CLOSED = problems.parametric((16, 17), ("periodic", "neumann"), conserved=("temperature",))
FLOWS = [problems.flow(sites) for sites in ((16, 17), (17, 16), (8, 9, 10))]
#: Those whose form meets walls by itself.
WITHOUT_WALLS = {"pinn", "pi_deeponet"}
WALLED = [name for name in NAMES if name not in WITHOUT_WALLS]
#: Boundaries, the values at their ends, and where along the other axis an axis's walls are asked for.
WALLS: dict[str, tuple[tuple[int, ...], tuple[str, ...], tuple[tuple[float, float], ...]]] = {
    "bar": ((20,), ("dirichlet",), ((290.0, 310.0),)),
    "three cells": ((3, 8), ("dirichlet", "periodic"), ((290.0, 310.0), (0.0, 0.0))),
    "four cells": ((8, 4), ("neumann", "dirichlet"), ((0.0, 0.0), (290.0, 310.0))),
    "equal walls": ((16, 17), ("dirichlet", "dirichlet"), ((300.0, 300.0), (300.0, 300.0))),
    "one hot wall": ((16, 17), ("dirichlet", "dirichlet"), ((300.0, 310.0), (300.0, 300.0))),
    "box": ((9, 8, 10), ("dirichlet", "periodic", "dirichlet"), ((1.0, 1.0), (0.0, 0.0), (1.0, 1.0))),
}


def walled(case: str) -> Problem:
    sites, boundaries, values = WALLS[case]
    return problems.parametric(sites, boundaries, boundary_values=values)


@pytest.fixture
def double() -> Iterator[None]:
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(usual)


def built(name: str, problem: Problem, *constraints: str) -> Surrogate:
    """With weights so large that 20 steps lead far away."""
    torch.manual_seed(1)
    options = problems.options(name) | {"constraints": list(constraints)}
    coarse = {"modes": 2, "levels": 1} if min(problem.spec.shape) < 16 else {}
    options |= {option: value for option, value in coarse.items() if option in options}
    surrogate = store.build(name, options, problem, "float64")
    with torch.no_grad():
        for weight in surrogate.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    return surrogate


def rolled_out(surrogate: Surrogate, steps: int = 20) -> torch.Tensor:
    """The states (B, C, *sites) at the start and the end."""
    problem = surrogate.problem
    batch = problems.batch(problem, size=2, dtype=torch.float64)
    times = np.array([0.0, steps * problem.time_step])
    found = surrogate.predict(batch["state"][:, 0], problems.parameters_by_name(problem, batch), times).mean
    assert torch.isfinite(found).all()
    return found


def wall_values(state: torch.Tensor, axis: int) -> torch.Tensor:
    """At both ends of an axis: Lagrange's parabola through three centres, half a cell outside."""
    lines = state.movedim(axis - state.ndim + 2, -1)
    ends = [
        lines.narrow(-1, 0, 3),
        lines.flip(-1).narrow(-1, 0, 3),
    ]
    places, wall = [0.5, 1.5, 2.5], 0.0
    weights = [
        np.prod([(wall - other) / (place - other) for other in places if other != place]) for place in places
    ]
    return torch.stack([sum(w * end[..., i] for i, w in enumerate(weights)) for end in ends], dim=-1)


@pytest.mark.parametrize(
    ("problem", "constraint"),
    [(CLOSED, "mean"), (walled("one hot wall"), "boundary"), (FLOWS[0], "divergence")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mixed_precision_leaves_constraints_as_exact(problem: Problem, constraint: Any) -> None:
    constraints = Constraints(problem, [constraint])
    torch.manual_seed(0)
    state, start = torch.randn(2, 2, *problem.spec.shape, len(problem.spec.channels))
    expected = constraints(state, start)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(constraints(state, start), expected)


def divergence(velocity: torch.Tensor, extent: tuple[float, ...]) -> tuple[float, float]:
    """The root mean square of the spectral divergence of (D, *sites), and that of its terms."""
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
def test_the_mean_of_conserved_channels_is_that_of_the_start(name: str) -> None:
    begin, end = rolled_out(built(name, CLOSED, "mean")).mean((-1, -2)).unbind(1)
    free = rolled_out(built(name, CLOSED)).mean((-1, -2))
    drift = (end - begin).abs() / torch.tensor(CLOSED.statistics.std)
    assert drift[:, 0].max() < 1e-13 * 30  # the mean is 30 standard deviations
    assert drift[:, 1].min() > 1e-3
    assert (free[:, 1] - free[:, 0]).abs()[:, 0].min() > 1e-2


@pytest.mark.parametrize("case", WALLS)
@pytest.mark.parametrize("name", WALLED)
def test_walls_have_their_values(name: str, case: str) -> None:
    problem = walled(case)
    state = rolled_out(built(name, problem, "boundary"))[:, 1]
    for axis, kind in enumerate(problem.spec.boundaries):
        if kind != "dirichlet":
            continue
        found = wall_values(state, axis)
        if (
            case == "one hot wall"
        ):  # nothing is asked of the lines within three cells of a wall of another value
            found = found[..., 3:-3, :]
        wrong = (found - torch.tensor(problem.spec.boundary_values[axis])).abs().amax()
        assert wrong < 1e-11 * state.abs().max()


@pytest.mark.parametrize("problem", FLOWS, ids=lambda problem: str(problem.spec.shape))
@pytest.mark.parametrize("name", NAMES)
def test_a_velocity_has_no_divergence(name: str, problem: Problem) -> None:
    _, end = rolled_out(built(name, problem, "mean", "divergence")).unbind(1)
    _, free = rolled_out(built(name, problem)).unbind(1)
    for held, unheld in zip(end[:, 1:], free[:, 1:], strict=True):
        found, terms = divergence(held, problem.spec.extent)
        assert found < 1e-13 * terms
        found, terms = divergence(unheld, problem.spec.extent)
        assert found > 0.1 * terms


@pytest.mark.parametrize(
    ("problem", "names"),
    [
        (CLOSED, ["mean"]),
        (FLOWS[0], ["mean", "divergence"]),
        *[(walled(case), ["boundary"]) for case in WALLS],
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else str(value.sites),
)
@pytest.mark.usefixtures("double")
def test_it_is_the_nearest_state_that_keeps_the_constraints(problem: Problem, names: Any) -> None:
    """An orthogonal projection: twice is once, and what it takes away is normal to what it leaves free."""
    count = len(problem.spec.channels)
    units = dataclasses.replace(problem.statistics, mean=(0.0,) * count, std=(1.0,) * count)
    constraints = Constraints(dataclasses.replace(problem, statistics=units), names)
    generator = torch.Generator().manual_seed(3)
    shape = (2, *problem.spec.shape, len(problem.spec.channels))
    state, other, start = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3))
    held, also = constraints(state, start), constraints(other, start)
    assert not torch.allclose(held, state)
    torch.testing.assert_close(constraints(held, start), held, rtol=0, atol=1e-10)
    taken, between = (state - held).flatten(), (also - held).flatten()
    if problem != walled("one hot wall"):  # there the two axes' lines cross where but one is asked for
        assert abs(taken @ between) < 1e-10 * taken.norm() * between.norm()
        assert (held - also).norm() < (state - also).norm()


@pytest.mark.parametrize(
    ("name", "problem", "names"),
    [
        *itertools.product(NAMES, [CLOSED], [["mean"]]),
        *itertools.product(NAMES, FLOWS[:1], [["mean", "divergence"]]),
        *itertools.product(WALLED, [walled("equal walls")], [["boundary"]]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else str(value)[:12],
)
def test_gradients_flow_through_a_roll_out(name: str, problem: Problem, names: Any) -> None:
    surrogate = built(name, problem, *names)
    batch = problems.batch(problem, size=4, dtype=torch.float64, num_random=surrogate.num_random)
    total = sum(surrogate(batch).values())
    total.backward()  # type: ignore[union-attr]
    for weight in surrogate.parameters():
        assert weight.grad is not None
        assert torch.isfinite(weight.grad).all()
    parts = [{key: value[half] for key, value in batch.items()} for half in (slice(0, 2), slice(2, 4))]
    halves = sum(sum(surrogate(part).values()) for part in parts) / 2
    torch.testing.assert_close(halves, total, rtol=1e-12, atol=0)


@pytest.mark.usefixtures("double")
def test_the_equation_is_asked_of_what_the_constraints_leave() -> None:
    """Taken from the amplitudes of the modes, it is what is taken from the field."""
    surrogate = built("pi_deeponet", FLOWS[0], "mean", "divergence")
    assert isinstance(surrogate, PIDeepONet)
    torch.manual_seed(2)
    amplitudes = torch.randn(2, 3, len(FLOWS[0].channels), 13, 13)
    free, held = (
        surrogate.trunk.field(each).value.movedim(2, -1) for each in (amplitudes, surrogate._held(amplitudes))
    )
    expected = surrogate.constraints(free, torch.zeros_like(free))
    assert not torch.allclose(free, expected)
    torch.testing.assert_close(held, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", sorted(WITHOUT_WALLS))
def test_walls_that_are_met_already_are_not_asked_for(name: str) -> None:
    with pytest.raises(ValueError, match="boundary is met by the form of this surrogate already"):
        built(name, walled("equal walls"), "boundary")


def test_particles_are_refused() -> None:
    with pytest.raises(ValueError, match=r"constraints=\['mean'\] hold on the cells of a grid.* 3 particles"):
        built("mlp", problems.particles(), "mean")


@pytest.mark.parametrize(
    ("problem", "constraint", "said"),
    [
        (walled("bar"), "mean", "mean is of no use .*the means of temperature, pressure change"),
        (CLOSED, "boundary", "boundary is of no use .*periodic, neumann is dirichlet"),
        (
            problems.problem((2, 8), ("dirichlet", "periodic")),
            "boundary",
            "boundary needs 3 cells between the walls of x, which has 2",
        ),
        (CLOSED, "divergence", "divergence is of no use .*temperature, pressure is a vector"),
        (
            dataclasses.replace(CLOSED, divergence_free=(("temperature", "pressure"),)),
            "divergence",
            "need periodic axes; here they are periodic, neumann",
        ),
    ],
)
def test_a_constraint_of_no_use_is_refused(problem: Problem, constraint: Any, said: str) -> None:
    with pytest.raises(ValueError, match=rf"surrogate\.constraints: .*{said}"):
        Constraints(problem, [constraint])


@pytest.mark.parametrize(
    ("constraint", "solver"),
    [
        ("mean", ()),
        ("boundary", ("solver.boundary.x=dirichlet", "solver.boundary_values.x=[1.0,2.0]")),
    ],
)
def test_on_data_the_error_is_no_worse_and_a_stopped_run_resumes_to_the_bit(
    constraint: str, solver: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = made_dataset(tmp_path, *solver)
    longer = ("training.steps=100", "training.checkpoint_every=50", "training.validate_every=100")
    folder = {}
    for number, constraints in enumerate(("[]", f"[{constraint}]")):
        folder[number] = trained(
            tmp_path / str(number), dataset, *longer, f"surrogate.constraints={constraints}"
        )
    free, held = (store.description(folder[number])["valid_error"] for number in (0, 1))
    assert held < 1.05 * free

    usual = loop.train_step

    def stopped(
        model: Model, parts: Iterable[Batch], state: TrainState, options: Training
    ) -> tuple[float, float]:
        if state.step == 42:
            os.kill(os.getpid(), signal.SIGUSR1)
        return usual(model, parts, state, options)

    again = (tmp_path / "again", dataset, *longer, f"surrogate.constraints=[{constraint}]")
    monkeypatch.setattr(loop, "train_step", stopped)
    with pytest.raises(StoppedError, match="of 100"):
        trained(*again)
    monkeypatch.undo()
    assert same(trained(*again), folder[1])
