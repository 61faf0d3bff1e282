"""Two remedies for physics-informed networks, with them and without: losses in balance, and points where the
residual is large.

Losses: a bar whose conductivity and two amplitudes tell all, 12 trajectories, and a weight of the data that
is right, far too large or far too small; the error is that of roll-outs of the test split.

Points: Burgers' equation without data, u_t + u u_x = nu u_xx on -1 < x < 1 with nu = 0.01 / pi, 0 at the
walls and u = -sin(pi x) at time 0; at time 1/pi a front stands at x = 0, a hundredth wide. A training takes
20 steps of Levenberg and Marquardt's method, each on points of its own. The error is relative to the
Cole-Hopf solution, in the L2 norm over 200 places and 20 times. Basdevant et al. 1986
(doi:10.1016/0045-7930(86)90036-8).
"""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measuring import keep
from benchmarks.training import errors, fitted, made
from pipeline.parallel.ranks import Ranks
from pipeline.training.batches.augment import with_random
from pipeline.training.optim.levenberg_marquardt import levenberg_marquardt
from pipeline.training.train_state import TrainState
from surrogates import store
from surrogates.contract import Batch, Problem, Statistics
from surrogates.pinn import PINN
from tests.support.training_cases import read

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
ON_THE_BAR = (
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
    """Prints and keeps the errors."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        bar = made(Path(folder) / "bar", *BAR)
        rows = [_weighed(Path(folder), bar, weight) for weight in ("1e4", "1", "1e-4")]
    rows += [_front(points, iterations) for points, iterations in ((128, 15), (512, 15))]
    claim = "Physics-informed networks: losses in balance, and points chosen by the residual; two seeds"
    keep("pinn_losses_and_points", claim, rows, ["torch", "DeepXDE", "numpy"])


def _weighed(folder: Path, bar: Path, weight: str) -> dict[str, object]:
    def error(every: int, seed: int) -> float:
        given = (f"surrogate.data_weight={weight}", f"training.balance_every={every}", f"seed={seed}")
        surrogate, _ = fitted(folder / f"{weight}-{every}-{seed}", bar, *ON_THE_BAR, *given)
        return float(errors(surrogate, bar).mean())

    free, held = ([error(every, seed) for seed in SEEDS] for every in (0, 20))
    return {"problem": f"bar, data_weight={weight}", "remedy": "balance_every=20"} | _told(free, held)


def _front(points: int, iterations: int) -> dict[str, object]:
    begun = time.perf_counter()
    free = [_error_of_front(points, 1, iterations, seed) for seed in SEEDS]
    between = time.perf_counter()
    held = [_error_of_front(points, 4, iterations, seed) for seed in SEEDS]
    ratio = (time.perf_counter() - between) / (between - begun)
    return (
        {"problem": f"Burgers, {points} points", "remedy": "candidates=4"}
        | _told(free, held)
        | {"time, with over without": ratio}
    )


def _told(free: list[float], held: list[float]) -> dict[str, object]:
    words = {"error without": free, "error with": held}
    return {name: ", ".join(f"{error:.1e}" for error in found) for name, found in words.items()}


def _error_of_front(points: int, candidates: int, iterations: int, seed: int) -> float:
    """After 20 steps of Levenberg and Marquardt's method, each on points of its own."""
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
    given = read(
        "training.precision=float64",
        f"training.finish={{method: levenberg_marquardt, steps: 20, iterations: {iterations}}}",
    ).training
    state = TrainState(surrogate, torch.optim.AdamW(surrogate.parameters()))
    alone = Ranks(0, 1, torch.device("cpu"), {"here": 1})
    for step in range(given.finish.steps):
        window: Any = {"state": torch.zeros(1, 1, dtype=torch.float64)}
        batch: Batch = with_random(window, surrogate.num_random, seed=seed, step=step, places=np.arange(1))
        levenberg_marquardt(surrogate, [batch], state, given, alone)
    truth = cole_hopf()
    found = surrogate.predict(truth[None, :1], {}, T).mean[0, :, 0].numpy()
    return float(np.linalg.norm(found[1:] - truth[1:]) / np.linalg.norm(truth[1:]))


def burgers() -> Problem:
    """Burgers' equation of one parameter-free start."""

    def residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        u = fields["u"]
        slope = derivative(u, "x")
        return {"burgers": derivative(u, "t") + u * slope - VISCOSITY * derivative(slope, "x")}

    def initial_condition(coordinates: Any, parameters: Any, functions: Any) -> dict[str, Any]:
        return {"u": -functions.sin(math.pi * coordinates["x"])}

    return Problem(
        equation="Burgers", channels=("u",), units=("m/s",), coefficients=(), parameters=(),
        parameter_ranges=(), axes=("x",), sites=(len(X),), lower=(-1.0,), extent=(2.0,),
        boundaries=("dirichlet",), boundary_values=((0.0, 0.0),), time_step=float(T[1]),
        duration=1.0, autonomous=True, determined=True,
        conserved=(), divergence_free=(), residual=residual, initial_condition=initial_condition,
        statistics=Statistics((0.0,), (0.6,), (0.05,), (), (), (), ()),
    )  # fmt: skip


def cole_hopf() -> np.ndarray:
    """The solution at all times T and places X (21, 200), by Gauss and Hermite's quadrature."""
    nodes, weights = np.polynomial.hermite.hermgauss(120)
    found = [-np.sin(np.pi * X)]
    for moment in T[1:]:
        y = X[:, None] - np.sqrt(4 * VISCOSITY * moment) * nodes
        logarithm = -np.cos(np.pi * y) / (2 * np.pi * VISCOSITY)
        kernel = weights * np.exp(logarithm - logarithm.max(axis=1, keepdims=True))
        found.append(-(kernel * np.sin(np.pi * y)).sum(1) / kernel.sum(1))
    return np.array(found)


if __name__ == "__main__":
    main()
