"""The learned Hamiltonian: forces from its energy, order of the scheme, what it keeps, and what it learns."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from simsurrogate.spec import Field
from surrogates import store
from surrogates.contract import Batch, Problem, Statistics
from surrogates.hamiltonian import Hamiltonian
from tests.support import nbody_cases, problems


def built(problem: Problem, **options: int) -> Hamiltonian:
    torch.manual_seed(0)
    surrogate = store.build(
        "hamiltonian", {"width": 16, "layers": 2, "substeps": 2} | options, problem, "float64"
    )
    assert isinstance(surrogate, Hamiltonian)
    return surrogate


def drawn(problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """States (B, C, N) and masses (B, N)."""
    batch = problems.batch(problem, 2, dtype=torch.float64)
    return batch["state"][:, 0], batch["coefficient_fields"][:, 0]


def rolled_out(surrogate: Hamiltonian, state: torch.Tensor, mass: torch.Tensor, steps: int) -> torch.Tensor:
    times = surrogate.problem.time_step * np.arange(steps + 1)
    return surrogate.predict(state, {"power": 2.0, "mass": mass}, times).mean


@pytest.mark.parametrize(("num_bodies", "dimension"), [(2, 1), (2, 2), (4, 3)])
def test_forces_are_the_slopes_of_the_energy(num_bodies: int, dimension: int) -> None:
    surrogate = built(problems.particles(num_bodies, dimension))
    state, mass = drawn(surrogate.problem)
    state.requires_grad_(True)
    (slope,) = torch.autograd.grad(surrogate.energy(state, mass).sum(), state)
    force = mass[..., None] * surrogate._acceleration(state[:, :dimension].movedim(1, -1), mass)
    torch.testing.assert_close(force.movedim(-1, 1), -slope[:, :dimension], rtol=1e-10, atol=1e-10)
    momentum = mass[:, None] * state[:, dimension:]
    torch.testing.assert_close(slope[:, dimension:], momentum, rtol=1e-12, atol=0)


def test_the_scheme_is_of_fourth_order() -> None:
    problem = problems.particles(3, 2)
    errors = []
    # Three bodies far from each other: nothing to resolve but smooth paths.
    places = [[-60.0, 60.0, 0.0], [-30.0, -30.0, 70.0], [10.0, 0.0, -10.0], [-10.0, 10.0, 0.0]]
    state = torch.tensor([places], dtype=torch.float64)
    mass = torch.tensor([[900.0, 1000.0, 1100.0]], dtype=torch.float64)
    exact = rolled_out(built(problem, substeps=64), state, mass, 4)[:, -1]
    for substeps in (2, 4, 8):
        moved = rolled_out(built(problem, substeps=substeps), state, mass, 4)[:, -1]
        errors.append(float((moved - exact).norm()))
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert orders == pytest.approx([4, 4], abs=0.2)


def test_momentum_and_angular_momentum_are_kept_whatever_was_learned() -> None:
    surrogate = built(problems.particles(4, 3))
    state, mass = drawn(surrogate.problem)
    states = rolled_out(surrogate, state, mass, 50)
    x, p = states[:, :, :3], mass[:, None, None] * states[:, :, 3:]
    for conserved, size in (
        (p.sum(-1), p.abs().sum(-1)),
        (torch.linalg.cross(x, p, dim=2).sum(-1), (x.norm(dim=2, keepdim=True) * p.abs()).sum(-1)),
    ):
        drift = (conserved - conserved[:, :1]).abs().amax() / size.amax()
        assert drift < 1e-13


def test_energy_does_not_drift_in_a_long_roll_out() -> None:
    """Over 2000 steps the second half is no worse than the first; a scheme that is not symplectic drifts."""
    surrogate = built(problems.particles(2, 2), layers=1)
    with torch.no_grad():
        # An attraction that binds: the energy grows with r everywhere.
        surrogate.potential.out.weight.copy_(0.02 * surrogate.potential.hidden[0].weight[:, 0].sign())
    position = torch.tensor([[[-20.0, 20.0], [0.0, 0.0], [0.0, 0.0], [-40.0, 40.0]]], dtype=torch.float64)
    mass = torch.full((1, 2), 1e3, dtype=torch.float64)
    states = rolled_out(surrogate, position, mass, 2000)[0]
    energy = surrogate.energy(states, mass.expand(len(states), 2)).detach()
    kinetic = 0.5 * (mass * states[:, 2:].square().sum(1)).sum(-1)
    assert kinetic.max() > 1.1 * kinetic.min()
    first, second = (part.abs().amax() for part in (energy - energy[0]).split(1001))
    assert second < 1.05 * first
    assert first < 1e-3 * (kinetic.max() - kinetic.min())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"coefficient_fields": (Field("charge", "C", ""),)},
            "masses .*, mass., not position_x, position_y, velocity_x, velocity_y, charge",
        ),
        (
            {"fields": (Field("position", "m", "", 1), Field("spin", "1", "", 1))},
            "not position_x, position_y, spin_x, spin_y, mass",
        ),
        ({"autonomous": False}, "depends on time itself"),
        ({"num_bodies": 1}, "two particles or more"),
    ],
)
def test_what_has_no_such_hamiltonian_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Hamiltonian(problems.particles(**changes), width=8, layers=1, substeps=1)  # type: ignore[arg-type]


def test_an_option_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"surrogate\.substeps=0 must be at least 1"):
        built(problems.particles(), substeps=0)


FRAMES, STEP = 61, 0.1


@cache
def orbits(num_orbits: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Kepler orbits of unequal masses: states (B, T, C, 2) and masses (B, 2)."""
    solver = nbody_cases.nbody(
        system=nbody_cases.KEPLER | {"eccentricity": [0.0, 0.5], "mass_ratio": [0.3, 1.0]}
    )
    rng = np.random.default_rng(seed)
    found = solver.solve_batch([solver.sample(rng) for _ in range(num_orbits)], STEP * np.arange(FRAMES))
    assert found.failures == [None] * num_orbits
    return found.states, found.coefficient_fields[:, 0]


def learned() -> Hamiltonian:
    """Trained for 250 steps on single steps of 32 orbits."""
    states, masses = orbits(32, seed=0)
    statistics = Statistics(
        mean=tuple(states.mean(axis=(0, 1, 3))),
        std=tuple(states.std(axis=(0, 1, 3))),
        delta_std=tuple(np.diff(states, axis=1).std(axis=(0, 1, 3))),
        coefficient_mean=(masses.mean(),),
        coefficient_std=(masses.std(),),
        parameter_mean=(),
        parameter_std=(),
    )
    problem = problems.particles(2, 2, statistics=statistics, parameters=(), time_step=STEP)
    surrogate = built(problem)
    optimiser = torch.optim.Adam(surrogate.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=250)
    rng = np.random.default_rng(1)
    for _ in range(250):
        orbit, frame = rng.integers(32, size=128), rng.integers(FRAMES - 1, size=128)
        batch: Batch = {
            "state": torch.tensor(states[orbit[:, None], frame[:, None] + np.arange(2)]),
            "coefficient_fields": torch.tensor(masses[orbit, None]),
            "parameters": torch.empty(128, 0),
            "time": torch.zeros(128, 2),
        }
        optimiser.zero_grad()
        surrogate(batch)["rollout"].backward()
        optimiser.step()
        schedule.step()
    return surrogate


def test_learns_gravity_from_frames_and_keeps_the_true_energy() -> None:
    """Over ten revolutions, where training saw single steps of one: far longer than any window."""
    surrogate = learned()
    states, masses = orbits(8, seed=2)
    duration = 10 * 2 * np.pi
    times = STEP * np.arange(int(duration / STEP) + 1)
    found = surrogate.predict(states[:, 0], {"mass": masses}, times).mean.numpy()
    apart = found[:, :, :2, 1] - found[:, :, :2, 0]
    kinetic = 0.5 * (masses[:, None] * np.square(found[:, :, 2:]).sum(axis=2)).sum(axis=-1)
    energy = kinetic - masses.prod(axis=1)[:, None] / np.linalg.norm(apart, axis=2)
    error = np.abs(energy / energy[:, :1] - 1).max(axis=1)
    assert np.median(error) < 0.01
    revolution = found[:, : states.shape[1], :2] - states[:, :, :2]
    assert np.median(np.linalg.norm(revolution[:, -1], axis=1)) < 0.02
