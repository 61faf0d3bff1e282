"""The errors of `hamiltonian` and `mlp` on the two-body orbits of the paper on Hamiltonian neural networks.

The data follow section 5 and table 1 of Greydanus et al. (2019, arXiv:1906.01563) and the published code:
1000 near-circular orbits of two unit masses with 50 frames over 20 s. The initial speed is the circular speed
times 1 + 0.05 N(0, 1). The frames have no other noise. A fifth of the orbits forms the test set.

- Test loss: the mean squared error of the time derivatives of positions and momenta, at the true states of
  the test orbits. `mlp` has no derivatives at arbitrary states. The loss of `mlp` therefore compares central
  differences along the predicted orbits with the derivatives along the true orbits.
- Energy error: the mean square, over frames and orbits, of the difference between the energies of the
  predicted and the true orbit.

The published networks are trained on the exact derivatives at each frame, and their Hamiltonian H is any
function of q and p. `hamiltonian` is trained on the frames alone, through an integrator. The H of
`hamiltonian` has the known kinetic energy and a potential that is a sum over pairs. The published orbits are
integrated with an adaptive Runge-Kutta scheme (RK45), the orbits here by the solver. The benchmark checks the
energies of the true orbits before the training.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from mpi4py import MPI

import configs
from benchmarks.support.measuring import print_and_store
from pipeline.config.build import build_solver
from simsurrogate.spec import Field, Particles, Spec
from solvers.contract import SteppedTrajectory
from surrogates import store
from surrogates.contract import Batch, Problem, Statistics, Surrogate
from surrogates.hamiltonian import Hamiltonian

NUM_ORBITS, NUM_TEST_ORBITS, NUM_FRAMES, DURATION, SPEED_NOISE = 1000, 200, 50, 20.0, 0.05
TIMES = np.linspace(0.0, DURATION, NUM_FRAMES)
#: For each surrogate: options that override the YAML, frames of a window, optimiser steps, batch size, and
#: largest learning rate.
TRAININGS: dict[str, tuple[dict[str, int], int, int, int, float]] = {
    "hamiltonian": ({}, 2, 1500, 256, 1e-2),
    "mlp": ({"horizon_steps": NUM_FRAMES - 1}, NUM_FRAMES, 4000, 32, 2e-3),
}
PUBLISHED_ERRORS = {"plain network": (2.96e-5, 6.3e-2), "Hamiltonian network": (2.82e-6, 3.9e-5)}


def main() -> None:
    """Print and store the published errors and the measured errors."""
    torch.set_num_threads(1)
    states = generate_orbits()
    drift = np.abs(energy(states) / energy(states)[:, :1] - 1).max()
    if drift > 1e-6:
        sys.exit(f"the relative energy drift of the true orbits is {drift:.1e}; at most 1e-6 is allowed")
    rows: list[dict[str, object]] = [
        {"surrogate": f"{name}, published", "test loss": loss, "energy error": error}
        for name, (loss, error) in PUBLISHED_ERRORS.items()
    ]
    rows += [measure_errors(name, states) for name in TRAININGS]
    print_and_store(
        "hamiltonian_two_body",
        "Two-body orbits as in the paper on Hamiltonian neural networks",
        rows,
        ["torch", "numpy"],
    )


def generate_orbits() -> np.ndarray:
    """Return the states (B, T, 4, 2) of both bodies, as in the published code."""
    rng = np.random.default_rng(0)
    options = yaml_options("solver", "nbody")
    system = options["system"] | {"kind": "two_body", "total_mass": 2.0}
    solver = build_solver(options | {"system": system, "accuracy": 1e-3}, MPI.COMM_SELF)
    trajectory = solver.prepare(solver.sample(rng))
    assert isinstance(trajectory, SteppedTrajectory)
    states = np.empty((NUM_ORBITS, NUM_FRAMES, 4, 2))
    for orbit in states:
        position = rng.uniform(0.5, 1.5, 2)
        velocity = position[::-1] * [-1, 1] / (2 * np.linalg.norm(position) ** 1.5)
        first_body = np.concatenate([position, velocity * (1 + SPEED_NOISE * rng.standard_normal())])
        orbit[0] = np.outer(first_body, [1, -1])
        for frame in range(1, NUM_FRAMES):
            orbit[frame] = trajectory.advance(orbit[frame - 1], 0.0, TIMES[1])
    return states


def measure_errors(name: str, states: np.ndarray) -> dict[str, object]:
    """Train a surrogate on the training orbits, and return its errors on the test orbits."""
    start = time.perf_counter()
    surrogate = train_surrogate(name, states[NUM_TEST_ORBITS:])
    seconds = time.perf_counter() - start
    truth = states[:NUM_TEST_ORBITS]
    prediction = surrogate.predict(truth[:, 0], {"mass": np.ones(2)}, TIMES).mean.numpy()
    if isinstance(surrogate, Hamiltonian):
        derivatives = derivatives_of_states(surrogate, truth)
    else:
        derivatives = derivatives_of_orbits(surrogate, truth)
    return {
        "surrogate": name,
        "test loss": float(np.mean((derivatives - true_derivatives(truth)) ** 2)),
        "energy error": float(np.mean((energy(prediction) - energy(truth)) ** 2)),
        "position error (m)": float(np.sqrt(np.mean((prediction - truth)[:, :, :2] ** 2))),
        "weights": sum(weight.numel() for weight in surrogate.parameters()),
        "training (s)": seconds,
    }


def train_surrogate(name: str, states: np.ndarray) -> Surrogate:
    """Train a surrogate on random windows of `states` (B, T, 4, 2), and return the surrogate."""
    option_overrides, length, steps, batch_size, learning_rate = TRAININGS[name]
    torch.manual_seed(0)
    options = {key: value for key, value in yaml_options("surrogate", name).items() if key != "name"}
    surrogate = store.build(name, options | option_overrides, problem_of(states), "float64")
    optimiser = torch.optim.Adam(surrogate.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps)
    rng = np.random.default_rng(1)
    for _ in range(steps):
        orbit_indices, first_frames = (
            rng.integers(len(states), size=batch_size),
            rng.integers(NUM_FRAMES - length + 1, size=batch_size),
        )
        batch: Batch = {
            "state": torch.from_numpy(
                states[orbit_indices[:, None], first_frames[:, None] + np.arange(length)]
            ),
            "coefficient_fields": torch.ones(batch_size, 1, 2, dtype=torch.float64),
            "parameters": torch.empty(batch_size, 0, dtype=torch.float64),
            "time": torch.from_numpy(TIMES[:length]).expand(batch_size, -1),
        }
        optimiser.zero_grad()
        torch.stack(list(surrogate(batch).values())).sum().backward()
        optimiser.step()
        schedule.step()
    return surrogate.eval().requires_grad_(False)


def yaml_options(group: str, name: str) -> dict[str, Any]:
    """Return the options in `configs/GROUP/NAME.yaml`."""
    return dict(yaml.safe_load((Path(configs.__path__[0]) / group / f"{name}.yaml").read_text()))


def problem_of(states: np.ndarray) -> Problem:
    """Return the problem of two bodies in a plane, with the statistics of `states` (B, T, 4, 2)."""
    axes = (0, 1, 3)
    spec = Spec(
        name="nbody",
        equation="x_i'' = Σ_j m_j (x_j - x_i) / r_ij^3",
        sites=Particles(2, 2),
        fields=(Field("position", "m", "position", 1), Field("velocity", "m/s", "velocity", 1)),
        coefficient_fields=(Field("mass", "kg", "mass"),),
        parameters=(),
        invariants=(),
        autonomous=True,
        parametric=False,
    )
    statistics = Statistics(
        mean=tuple(states.mean(axis=axes).tolist()),
        std=tuple(states.std(axis=axes).tolist()),
        delta_std=tuple(np.diff(states, axis=1).std(axis=axes).tolist()),
        coefficient_mean=(1.0,),
        coefficient_std=(0.0,),
        parameter_mean=(),
        parameter_std=(),
    )
    return Problem(spec, statistics, float(TIMES[1]), DURATION)


def derivatives_of_states(surrogate: Hamiltonian, states: np.ndarray) -> np.ndarray:
    """Return (dq/dt, dp/dt) = (∂H/∂p, -∂H/∂q) at the states (B, T, 4, 2), with masses of 1."""
    flat_states = torch.from_numpy(states.reshape(-1, 4, 2)).requires_grad_(True)
    (gradient,) = torch.autograd.grad(
        surrogate.energy(flat_states, torch.ones(len(flat_states), 2).double()).sum(), flat_states
    )
    derivatives: np.ndarray = np.concatenate([gradient[:, 2:], -gradient[:, :2]], axis=1)
    return derivatives.reshape(states.shape)


def derivatives_of_orbits(surrogate: Surrogate, states: np.ndarray) -> np.ndarray:
    """Return the time derivatives (B, T, 4, 2) of the orbits predicted from the first of `states`."""
    half_step = 1e-4 * TIMES[1]
    instants = np.stack([TIMES - half_step, TIMES + half_step], axis=1).ravel()
    instants[[0, -1]] = TIMES[[0, -1]]
    prediction = surrogate.predict(states[:, 0], {"mass": np.ones(2)}, instants).mean.numpy()
    steps = np.diff(instants)[::2]
    derivatives: np.ndarray = (prediction[:, 1::2] - prediction[:, ::2]) / steps[:, None, None]
    return derivatives


def true_derivatives(states: np.ndarray) -> np.ndarray:
    """Return velocity and acceleration for states (B, T, 4, 2) of two unit masses with G = 1."""
    displacement = states[:, :, :2, ::-1] - states[:, :, :2]
    acceleration = displacement / np.linalg.norm(displacement, axis=2, keepdims=True) ** 3
    return np.concatenate([states[:, :, 2:], acceleration], axis=2)


def energy(states: np.ndarray) -> np.ndarray:
    """Return the energy (J) for states (..., 4, 2) of two unit masses with G = 1."""
    kinetic = 0.5 * np.square(states[..., 2:, :]).sum(axis=(-2, -1))
    total: np.ndarray = kinetic - 1 / np.linalg.norm(states[..., :2, 1] - states[..., :2, 0], axis=-1)
    return total


if __name__ == "__main__":
    main()
