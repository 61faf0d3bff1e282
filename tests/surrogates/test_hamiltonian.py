"""The learned Hamiltonian: forces, integration order, conservation, training and refusals."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from simsurrogate.errors import UserError
from simsurrogate.spec import Field
from surrogates import store
from surrogates.contract import Batch, Problem, Statistics
from surrogates.hamiltonian import Hamiltonian
from tests.support import nbody_cases, problems


def build(problem: Problem, **options: int) -> Hamiltonian:
    torch.manual_seed(0)
    surrogate = store.build(
        "hamiltonian", {"width": 16, "layers": 2, "substeps": 2} | options, problem, "float64"
    )
    assert isinstance(surrogate, Hamiltonian)
    return surrogate


def random_states(problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """Return random states (B, C, N) and masses (B, N)."""
    batch = problems.batch(problem, 2, dtype=torch.float64)
    return batch["state"][:, 0], batch["coefficient_fields"][:, 0]


def rollout(surrogate: Hamiltonian, state: torch.Tensor, mass: torch.Tensor, steps: int) -> torch.Tensor:
    times = surrogate.problem.time_step * np.arange(steps + 1)
    return surrogate.predict(state, {"power": 2.0, "mass": mass}, times).mean


@pytest.mark.parametrize(("num_bodies", "dimension"), [(2, 1), (2, 2), (4, 3)])
def test_forces_are_the_negative_gradient_of_the_energy(num_bodies: int, dimension: int) -> None:
    surrogate = build(problems.particle_problem(num_bodies, dimension))
    state, mass = random_states(surrogate.problem)
    state.requires_grad_(True)
    (gradient,) = torch.autograd.grad(surrogate.energy(state, mass).sum(), state)
    force = mass[..., None] * surrogate._acceleration(state[:, :dimension].movedim(1, -1), mass)
    torch.testing.assert_close(force.movedim(-1, 1), -gradient[:, :dimension], rtol=1e-10, atol=1e-10)
    momentum = mass[:, None] * state[:, dimension:]
    torch.testing.assert_close(gradient[:, dimension:], momentum, rtol=1e-12, atol=0)


def test_the_scheme_is_of_fourth_order() -> None:
    problem = problems.particle_problem(3, 2)
    errors = []
    # The three bodies are far from each other and have smooth paths.
    positions_and_velocities = [
        [-60.0, 60.0, 0.0],
        [-30.0, -30.0, 70.0],
        [10.0, 0.0, -10.0],
        [-10.0, 10.0, 0.0],
    ]
    state = torch.tensor([positions_and_velocities], dtype=torch.float64)
    mass = torch.tensor([[900.0, 1000.0, 1100.0]], dtype=torch.float64)
    reference_state = rollout(build(problem, substeps=64), state, mass, 4)[:, -1]
    for substeps in (2, 4, 8):
        final_state = rollout(build(problem, substeps=substeps), state, mass, 4)[:, -1]
        errors.append(float((final_state - reference_state).norm()))
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert orders == pytest.approx([4, 4], abs=0.2)


def test_momentum_and_angular_momentum_are_conserved_for_any_weights() -> None:
    surrogate = build(problems.particle_problem(4, 3))
    state, mass = random_states(surrogate.problem)
    states = rollout(surrogate, state, mass, 50)
    x, p = states[:, :, :3], mass[:, None, None] * states[:, :, 3:]
    for conserved_quantity, scale in (
        (p.sum(-1), p.abs().sum(-1)),
        (torch.linalg.cross(x, p, dim=2).sum(-1), (x.norm(dim=2, keepdim=True) * p.abs()).sum(-1)),
    ):
        drift = (conserved_quantity - conserved_quantity[:, :1]).abs().amax() / scale.amax()
        assert drift < 1e-13


def test_energy_does_not_drift_in_a_long_rollout() -> None:
    # The energy error over 2000 steps does not grow from the first to the second half.
    surrogate = build(problems.particle_problem(2, 2), layers=1)
    with torch.no_grad():
        # The bodies attract each other: the energy grows with r everywhere.
        surrogate.potential.out.weight.copy_(0.02 * surrogate.potential.hidden[0].weight[:, 0].sign())
    position = torch.tensor([[[-20.0, 20.0], [0.0, 0.0], [0.0, 0.0], [-40.0, 40.0]]], dtype=torch.float64)
    mass = torch.full((1, 2), 1e3, dtype=torch.float64)
    states = rollout(surrogate, position, mass, 2000)[0]
    energy = surrogate.energy(states, mass.expand(len(states), 2)).detach()
    kinetic = 0.5 * (mass * states[:, 2:].square().sum(1)).sum(-1)
    assert kinetic.max() > 1.1 * kinetic.min()
    first_half, second_half = (half.abs().amax() for half in (energy - energy[0]).split(1001))
    assert second_half < 1.05 * first_half
    assert first_half < 1e-3 * (kinetic.max() - kinetic.min())


@pytest.mark.parametrize(
    ("changes", "message"),
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
def test_problems_that_do_not_fit_the_hamiltonian_are_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        Hamiltonian(problems.particle_problem(**changes), width=8, layers=1, substeps=1)  # type: ignore[arg-type]


def test_an_option_below_one_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"surrogate\.substeps=0 is too small. The smallest allowed value is 1"
    ):
        build(problems.particle_problem(), substeps=0)


FRAMES, TIME_STEP = 61, 0.1


@cache
def solve_orbits(num_orbits: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return Kepler orbits of unequal masses: states (B, T, C, 2) and masses (B, 2)."""
    solver = nbody_cases.nbody(
        system=nbody_cases.KEPLER | {"eccentricity": [0.0, 0.5], "mass_ratio": [0.3, 1.0]}
    )
    rng = np.random.default_rng(seed)
    batch = solver.solve_batch([solver.sample(rng) for _ in range(num_orbits)], TIME_STEP * np.arange(FRAMES))
    assert batch.failures == [None] * num_orbits
    return batch.states, batch.coefficient_fields[:, 0]


def train_on_orbits() -> Hamiltonian:
    """Return a surrogate trained for 250 steps on single time steps of 32 orbits."""
    states, masses = solve_orbits(32, seed=0)
    statistics = Statistics(
        mean=tuple(states.mean(axis=(0, 1, 3))),
        std=tuple(states.std(axis=(0, 1, 3))),
        delta_std=tuple(np.diff(states, axis=1).std(axis=(0, 1, 3))),
        coefficient_mean=(masses.mean(),),
        coefficient_std=(masses.std(),),
        parameter_mean=(),
        parameter_std=(),
    )
    problem = problems.particle_problem(2, 2, statistics=statistics, parameters=(), time_step=TIME_STEP)
    surrogate = build(problem)
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


def test_the_hamiltonian_learns_gravity_from_frames_and_conserves_the_true_energy() -> None:
    """Predict ten revolutions after a training on single time steps of one revolution."""
    surrogate = train_on_orbits()
    states, masses = solve_orbits(8, seed=2)
    duration = 10 * 2 * np.pi
    times = TIME_STEP * np.arange(int(duration / TIME_STEP) + 1)
    prediction = surrogate.predict(states[:, 0], {"mass": masses}, times).mean.numpy()
    displacement = prediction[:, :, :2, 1] - prediction[:, :, :2, 0]
    kinetic = 0.5 * (masses[:, None] * np.square(prediction[:, :, 2:]).sum(axis=2)).sum(axis=-1)
    energy = kinetic - masses.prod(axis=1)[:, None] / np.linalg.norm(displacement, axis=2)
    error = np.abs(energy / energy[:, :1] - 1).max(axis=1)
    assert np.median(error) < 0.01
    position_error = prediction[:, : states.shape[1], :2] - states[:, :, :2]
    assert np.median(np.linalg.norm(position_error[:, -1], axis=1)) < 0.02
