"""The effect of balanced losses and of residual-based points on the errors of physics-informed networks.

The benchmark of losses uses 12 trajectories of heat conduction in a bar with drawn conductivity and two drawn
amplitudes. The weight of the data loss is suitable, far too large or far too small. The error is the rollout
error on the test split.

The benchmark of points solves Burgers' equation u_t + u u_x = nu u_xx on -1 < x < 1 without data, with nu =
0.01 / pi (Basdevant et al. 1986, doi:10.1016/0045-7930(86)90036-8). The boundary values are 0, and u is
-sin(pi x) at time 0. At time 1 / pi a front of width 0.01 forms at x = 0. A training consists of 20 steps of
the Levenberg-Marquardt method, each with new points. The error is the relative L2 error with respect to the
Cole-Hopf solution, over 200 positions and 20 times.
"""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.support.measuring import print_and_store
from benchmarks.support.training import generate_dataset, rollout_errors, train_surrogate
from pipeline.parallel.ranks import Ranks
from pipeline.training.batches.augment import with_random
from pipeline.training.optim.levenberg_marquardt import levenberg_marquardt
from pipeline.training.train_state import TrainState
from simsurrogate.relative_l2 import relative_l2
from simsurrogate.spec import Axis, Field, Grid, Spec
from surrogates import store
from surrogates.contract import Batch, Problem, Statistics
from surrogates.pinn import PINN
from tests.support.trainings.training_cases import read_settings

SEEDS = (0, 1)
VISCOSITY = 0.01 / math.pi
BAR = (
    "solver=heat",
    "solver.extent=[1.0]",
    "solver.resolution=24",
    "solver.boundary.x=dirichlet",
    "solver.diffusivity.kind=constant",
    "solver.initial={kind: harmonics, count: 2}",
    "output.duration=0.06",
    "output.steps=6",
    "samples={train: 12, valid: 6, test: 16, test_extrapolation: 0, per_shard: 16}",
)
BAR_TRAINING = (
    "surrogate=pinn",
    "surrogate.width=16",
    "surrogate.layers=2",
    "surrogate.points=32",
    "training.batch_size=4",
    "training.learning_rate=5e-3",
    "training.steps=600",
    "training.validate_every=600",
)
X = np.linspace(-0.995, 0.995, 200)
T = np.linspace(0.0, 1.0, 21)


def main() -> None:
    """Print and store the errors without and with each method."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        bar = generate_dataset(Path(folder) / "bar", *BAR)
        rows = [_bar_row(Path(folder), bar, weight) for weight in ("1e4", "1", "1e-4")]
    rows += [_burgers_row(points, iterations) for points, iterations in ((128, 15), (512, 15))]
    claim = "Physics-informed networks: balanced losses, and points chosen by the residual; two seeds"
    print_and_store("pinn_losses_and_points", claim, rows, ["torch", "DeepXDE", "numpy"])


def _bar_row(folder: Path, bar: Path, weight: str) -> dict[str, object]:
    def error(balance_every: int, seed: int) -> float:
        overrides = (
            f"surrogate.data_weight={weight}",
            f"training.balance_every={balance_every}",
            f"seed={seed}",
        )
        surrogate, _ = train_surrogate(
            folder / f"{weight}-{balance_every}-{seed}", bar, *BAR_TRAINING, *overrides
        )
        return float(rollout_errors(surrogate, bar).mean())

    errors_without, errors_with = (
        [error(balance_every, seed) for seed in SEEDS] for balance_every in (0, 20)
    )
    columns = {"problem": f"bar, data_weight={weight}", "remedy": "balance_every=20"}
    return columns | _error_columns(errors_without, errors_with)


def _burgers_row(points: int, iterations: int) -> dict[str, object]:
    start_time = time.perf_counter()
    errors_without = [_burgers_error(points, 1, iterations, seed) for seed in SEEDS]
    middle_time = time.perf_counter()
    errors_with = [_burgers_error(points, 4, iterations, seed) for seed in SEEDS]
    ratio = (time.perf_counter() - middle_time) / (middle_time - start_time)
    return (
        {"problem": f"Burgers, {points} points", "remedy": "candidates=4"}
        | _error_columns(errors_without, errors_with)
        | {"time with / time without": ratio}
    )


def _error_columns(errors_without: list[float], errors_with: list[float]) -> dict[str, object]:
    columns = {"error without": errors_without, "error with": errors_with}
    return {name: ", ".join(f"{error:.1e}" for error in values) for name, values in columns.items()}


def _burgers_error(points: int, candidates: int, iterations: int, seed: int) -> float:
    """Return the error after 20 steps of the Levenberg-Marquardt method, each with new points."""
    torch.manual_seed(seed)
    options = {
        "width": 20,
        "layers": 3,
        "waves": 1,
        "points": points,
        "candidates": candidates,
        "causality": 0.0,
        "data_weight": 0.0,
    }
    surrogate = store.build("pinn", options, burgers(), "float64")
    assert isinstance(surrogate, PINN)
    training = read_settings(
        "training.precision=float64",
        f"training.finish={{method: levenberg_marquardt, steps: 20, iterations: {iterations}}}",
    ).training
    state = TrainState(surrogate, torch.optim.AdamW(surrogate.parameters()))
    ranks = Ranks(0, 1, torch.device("cpu"), {"localhost": 1})
    for step in range(training.finish.steps):
        window: Any = {"state": torch.zeros(1, 1, dtype=torch.float64)}
        batch: Batch = with_random(window, surrogate.num_random, seed=seed, step=step, positions=np.arange(1))
        levenberg_marquardt(surrogate, [batch], state, training, ranks)
    truth = cole_hopf()
    states = surrogate.predict(truth[None, :1], {}, T).mean[0, :, 0].numpy()
    return float(relative_l2(states[1:], truth[1:], np.linalg.norm, floor=0.0))


def burgers() -> Problem:
    """Return the problem of Burgers' equation with a fixed initial condition."""

    def residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        u = fields["u"]
        u_x = derivative(u, "x")
        return {"burgers": derivative(u, "t") + u * u_x - VISCOSITY * derivative(u_x, "x")}

    def initial_condition(coordinates: Any, parameters: Any, xp: Any) -> dict[str, Any]:
        return {"u": -xp.sin(math.pi * coordinates["x"])}

    spec = Spec(
        name="burgers",
        equation="u_t + u u_x = nu u_xx",
        sites=Grid((Axis("x", "m", len(X), -1.0, 1.0, "dirichlet"),)),
        fields=(Field("u", "m/s", "velocity"),),
        coefficient_fields=(),
        parameters=(),
        invariants=(),
        autonomous=True,
        parametric=True,
    )
    statistics = Statistics((0.0,), (0.6,), (0.05,), (), (), (), ())
    return Problem(spec, statistics, float(T[1]), 1.0, residual, initial_condition)


def cole_hopf() -> np.ndarray:
    """Return the solution (21, 200) at all times T and positions X, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite.hermgauss(120)
    states = [-np.sin(np.pi * X)]
    for time_value in T[1:]:
        y = X[:, None] - np.sqrt(4 * VISCOSITY * time_value) * nodes
        logarithm = -np.cos(np.pi * y) / (2 * np.pi * VISCOSITY)
        kernel = weights * np.exp(logarithm - logarithm.max(axis=1, keepdims=True))
        states.append(-(kernel * np.sin(np.pi * y)).sum(1) / kernel.sum(1))
    return np.array(states)


if __name__ == "__main__":
    main()
