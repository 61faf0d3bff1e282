"""Two-body orbits at the setting of Hamiltonian neural networks: what `hamiltonian` and `mlp` learn of them.

Greydanus et al. 2019 (arXiv 1906.01563), section 5 and table 1: 1000 near-circular orbits of two unit
masses, 50 frames over 20 s each, by the recipe of their code: the first speed is that of a circle times
1 + 0.05 N(0, 1), which is their noise; the frames have none. A fifth of the orbits is for the test.

- Test loss: their mean squared error of the time derivatives of positions and momenta, at the true states of
  the test orbits. `mlp` has no derivative at a state that it does not start from: for it, d predict / dt
  along its own orbits, by central differences, beside that along the true ones.
- Energy error: mean square, over frames and orbits, of a predicted orbit's energy less that of the true one.

What differs. Their networks see the exact derivatives at each frame, and their H is any function of q and p;
`hamiltonian` sees the frames alone, through an integrator, but is given the kinetic energy and that the
potential is one between pairs. Their orbits are integrated with an adaptive RK45, ours by the solver.

Before anything is trained, the true orbits must keep their energy.
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
from benchmarks.measuring import keep
from pipeline.config.build import build_solver
from surrogates import store
from surrogates.contract import Batch, Problem, Statistics, Surrogate
from surrogates.hamiltonian import Hamiltonian

ORBITS, TEST, FRAMES, DURATION, NOISE = 1000, 200, 50, 20.0, 0.05
TIMES = np.linspace(0.0, DURATION, FRAMES)
#: What differs from the YAML's options; frames of a window, optimiser steps, batch, largest learning rate.
TRAININGS: dict[str, tuple[dict[str, int], int, int, int, float]] = {
    "hamiltonian": ({}, 2, 1500, 256, 1e-2),
    "mlp": ({"horizon_steps": FRAMES - 1}, FRAMES, 4000, 32, 2e-3),
}
PUBLISHED = {"plain network": (2.96e-5, 6.3e-2), "Hamiltonian network": (2.82e-6, 3.9e-5)}


def main() -> None:
    """Prints and keeps the published figures and ours."""
    torch.set_num_threads(1)
    states = orbits()
    drift = np.abs(energy(states) / energy(states)[:, :1] - 1).max()
    if drift > 1e-6:
        sys.exit(f"the true orbits lose {drift:.1e} of their energy")
    rows: list[dict[str, object]] = [
        {"surrogate": f"{name}, published", "test loss": loss, "energy error": error}
        for name, (loss, error) in PUBLISHED.items()
    ]
    rows += [judged(name, states) for name in TRAININGS]
    keep(
        "hamiltonian_two_body",
        "Two-body orbits at the setting of Hamiltonian neural networks",
        rows,
        ["torch", "numpy"],
    )


def orbits() -> np.ndarray:
    """States (B, T, 4, 2): positions and velocities of both bodies, by the recipe of the paper's code."""
    rng = np.random.default_rng(0)
    options = shipped("solver", "nbody")
    system = options["system"] | {"kind": "two_body", "total_mass": 2.0}
    solver = build_solver(options | {"system": system, "accuracy": 1e-3}, MPI.COMM_SELF)
    parameters = solver.sample(rng)
    states = np.empty((ORBITS, FRAMES, 4, 2))
    for orbit in states:
        position = rng.uniform(0.5, 1.5, 2)
        speed = position[::-1] * [-1, 1] / (2 * np.linalg.norm(position) ** 1.5)
        first = np.concatenate([position, speed * (1 + NOISE * rng.standard_normal())])
        orbit[0] = np.outer(first, [1, -1])
        for frame in range(1, FRAMES):
            orbit[frame] = solver.advance(orbit[frame - 1], parameters, 0.0, TIMES[1])
    return states


def judged(name: str, states: np.ndarray) -> dict[str, object]:
    """Trains on all but the test orbits, and measures on these."""
    start = time.perf_counter()
    surrogate = trained(name, states[TEST:])
    seconds = time.perf_counter() - start
    truth = states[:TEST]
    found = surrogate.predict(truth[:, 0], {"mass": np.ones(2)}, TIMES).mean.numpy()
    of_states = isinstance(surrogate, Hamiltonian)
    found_slopes = slopes_of_states(surrogate, truth) if of_states else slopes_of_orbits(surrogate, truth)
    return {
        "surrogate": name,
        "test loss": float(np.mean((found_slopes - true_slopes(truth)) ** 2)),
        "energy error": float(np.mean((energy(found) - energy(truth)) ** 2)),
        "position error (m)": float(np.sqrt(np.mean((found - truth)[:, :, :2] ** 2))),
        "weights": sum(weight.numel() for weight in surrogate.parameters()),
        "training (s)": seconds,
    }


def trained(name: str, states: np.ndarray) -> Surrogate:
    changes, length, steps, size, rate = TRAININGS[name]
    torch.manual_seed(0)
    options = {key: value for key, value in shipped("surrogate", name).items() if key != "name"}
    surrogate = store.build(name, options | changes, problem_of(states), "float64")
    optimiser = torch.optim.Adam(surrogate.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    rng = np.random.default_rng(1)
    for _ in range(steps):
        orbit, frame = rng.integers(len(states), size=size), rng.integers(FRAMES - length + 1, size=size)
        batch: Batch = {
            "state": torch.from_numpy(states[orbit[:, None], frame[:, None] + np.arange(length)]),
            "coefficient_fields": torch.ones(size, 1, 2, dtype=torch.float64),
            "parameters": torch.empty(size, 0, dtype=torch.float64),
            "time": torch.from_numpy(TIMES[:length]).expand(size, -1),
        }
        optimiser.zero_grad()
        torch.stack(list(surrogate(batch).values())).sum().backward()
        optimiser.step()
        schedule.step()
    return surrogate.eval().requires_grad_(False)


def shipped(group: str, name: str) -> dict[str, Any]:
    """What `configs/GROUP/NAME.yaml` says."""
    return dict(yaml.safe_load((Path(configs.__path__[0]) / group / f"{name}.yaml").read_text()))


def problem_of(states: np.ndarray) -> Problem:
    axes = (0, 1, 3)
    moments: dict[str, Any] = {
        "mean": tuple(states.mean(axis=axes).tolist()),
        "std": tuple(states.std(axis=axes).tolist()),
        "delta_std": tuple(np.diff(states, axis=1).std(axis=axes).tolist()),
    }
    return Problem(
        equation="nbody",
        channels=("x", "y", "velocity_x", "velocity_y"),
        units=("m", "m", "m/s", "m/s"),
        coefficients=("mass",),
        parameters=(),
        parameter_ranges=(),
        axes=("particle",),
        sites=(2,),
        lower=(-0.5,),
        extent=(2.0,),
        boundaries=("open",),
        boundary_values=((0.0, 0.0),),
        time_step=float(TIMES[1]),
        duration=DURATION,
        autonomous=True,
        determined=False,
        conserved=(),
        divergence_free=(),
        statistics=Statistics(
            **moments, coefficient_mean=(1.0,), coefficient_std=(0.0,), parameter_mean=(), parameter_std=()
        ),
    )


def slopes_of_states(surrogate: Hamiltonian, states: np.ndarray) -> np.ndarray:
    """(dq/dt, dp/dt) = (∂H/∂p, -∂H/∂q) at the states (B, T, 4, 2), whose masses are 1."""
    flat = torch.from_numpy(states.reshape(-1, 4, 2)).requires_grad_(True)
    (slope,) = torch.autograd.grad(surrogate.energy(flat, torch.ones(len(flat), 2).double()).sum(), flat)
    found: np.ndarray = np.concatenate([slope[:, 2:], -slope[:, :2]], axis=1)
    return found.reshape(states.shape)


def slopes_of_orbits(surrogate: Surrogate, states: np.ndarray) -> np.ndarray:
    """The slopes of predicted orbits at each frame, (B, T, 4, 2), that begin as `states` do."""
    half = 1e-4 * TIMES[1]
    around = np.stack([TIMES - half, TIMES + half], axis=1).ravel()
    around[[0, -1]] = TIMES[[0, -1]]
    found = surrogate.predict(states[:, 0], {"mass": np.ones(2)}, around).mean.numpy()
    spans = np.diff(around)[::2]
    slopes: np.ndarray = (found[:, 1::2] - found[:, ::2]) / spans[:, None, None]
    return slopes


def true_slopes(states: np.ndarray) -> np.ndarray:
    """(v, a) of states (B, T, 4, 2) of two unit masses with G = 1."""
    apart = states[:, :, :2, ::-1] - states[:, :, :2]
    pull = apart / np.linalg.norm(apart, axis=2, keepdims=True) ** 3
    return np.concatenate([states[:, :, 2:], pull], axis=2)


def energy(states: np.ndarray) -> np.ndarray:
    """Of states (..., 4, 2) of two unit masses with G = 1, in J."""
    kinetic = 0.5 * np.square(states[..., 2:, :]).sum(axis=(-2, -1))
    result: np.ndarray = kinetic - 1 / np.linalg.norm(states[..., :2, 1] - states[..., :2, 0], axis=-1)
    return result


if __name__ == "__main__":
    main()
