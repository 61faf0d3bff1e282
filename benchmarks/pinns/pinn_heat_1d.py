"""The error and the training time of DeepXDE and `surrogate=pinn` for the 1-D heat example of DeepXDE.

    u_t = 0.4 u_xx on 0 < x < 1, u = 0 at both ends, u(x, 0) = sin(pi x), 0 < t < 1

DeepXDE runs the example of its documentation in float32: 2540 points inside, 80 points at the walls and 160
points at t = 0, 3 layers of width 20, and 20000 steps of Adam before L-BFGS. The physics-informed network
`pinn` satisfies the boundary and initial conditions by construction. The Levenberg-Marquardt method trains
`pinn` in float64. Both codes train without data. The error is the relative L2 error with respect to the exact
solution, over 256 points and 200 times after t = 0. The time of `pinn` is the time of the train stage with
validation.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import surrogates
from benchmarks.support.measuring import print_and_store
from pipeline import generate, train, validate
from pipeline.runs.folder import RunFolder
from simsurrogate.relative_l2 import relative_l2
from tests.support.trainings.training_cases import read_settings

DIFFUSIVITY = 0.4
POINTS, FRAMES = 256, 200
#: The numbers of steps of the second-order method. Each step has 256 new points and at most 20 iterations.
STEPS = (3, 4, 6, 10)

PROBLEM = (
    "solver=heat",
    "solver.extent=[1.0]",
    f"solver.resolution={POINTS}",
    "solver.boundary.x=dirichlet",
    f"solver.diffusivity={{kind: constant, range: [{DIFFUSIVITY}, {DIFFUSIVITY}]}}",
    "solver.initial={kind: harmonics, count: 1, amplitude: [1.0, 1.0]}",
    "output.duration=1.0",
    f"output.steps={FRAMES}",
    "samples={train: 1, valid: 1, test: 1, test_extrapolation: 0, per_shard: 1}",
    "storage.precision=float64",
)
TRAINING = (
    "surrogate=pinn",
    "surrogate.width=20",
    "surrogate.layers=3",
    "surrogate.points=64",
    "surrogate.data_weight=0",
    "training.steps=1",
    "training.batch_size=4",
    "training.precision=float64",
    "training.validate_every=1000",
    "training.checkpoint_every=1000",
    "training.device=cpu",
)

X = (np.arange(POINTS) + 0.5) / POINTS
T = np.arange(FRAMES + 1) / FRAMES
EXACT = np.exp(-DIFFUSIVITY * np.pi**2 * T)[:, None] * np.sin(np.pi * X)


def main() -> None:
    """Print and store the errors and times of both codes."""
    # This variable sets the number of threads of the train stage.
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    rows = _deepxde_rows()
    deepxde_seconds = rows[-1]["seconds"]
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        settings = read_settings(f"run={data}", *PROBLEM)
        for stage in (generate, validate):
            stage.run(settings)
        _pinn_row(Path(folder) / "warm-up", data, 1)
        rows += [_pinn_row(Path(folder) / str(steps), data, steps) for steps in STEPS]
    for row in rows:
        row["time / DeepXDE's time"] = row["seconds"] / deepxde_seconds
    claim = "DeepXDE's 1-D heat example without data: error against time, one core"
    print_and_store("pinn_heat_1d", claim, rows, ["torch", "DeepXDE"])


def _error(states: np.ndarray) -> float:
    """Return the relative L2 error over all points and all times after t = 0."""
    return float(relative_l2(states[1:], EXACT[1:], np.linalg.norm, floor=0.0))


def _pinn_row(folder: Path, data: Path, steps: int) -> dict[str, Any]:
    finish = f"training.finish={{method: levenberg_marquardt, steps: {steps}, iterations: 20}}"
    settings = read_settings(f"run={folder}", f"dataset={data / 'dataset'}", *TRAINING, finish)
    start = time.perf_counter()
    train.run(settings)
    seconds = time.perf_counter() - start
    surrogate = surrogates.load(RunFolder.of(settings).model_folder)
    parameters = {"diffusivity": DIFFUSIVITY, "amplitude_1": 1.0}
    states = surrogate.predict(EXACT[:1, None], parameters, T).mean[0, :, 0].numpy()
    weights = sum(weight.numel() for weight in surrogate.parameters())
    method = f"pinn, Levenberg-Marquardt, {steps} steps"
    return {"method": method, "weights": weights, "seconds": seconds, "relative error": _error(states)}


def _deepxde_rows() -> list[dict[str, Any]]:
    """Return the rows of the DeepXDE example pinn_forward/heat.py after Adam and after L-BFGS."""
    os.environ["DDE_BACKEND"] = "pytorch"
    import deepxde as dde

    dde.config.set_random_seed(0)
    space_time = dde.geometry.GeometryXTime(dde.geometry.Interval(0, 1), dde.geometry.TimeDomain(0, 1))

    def equation(x: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        u_t = dde.grad.jacobian(u, x, i=0, j=1)
        u_xx = dde.grad.hessian(u, x, i=0, j=0)
        return u_t - DIFFUSIVITY * u_xx

    wall_condition = dde.icbc.DirichletBC(space_time, lambda x: 0, lambda _, on_boundary: on_boundary)
    initial_condition = dde.icbc.IC(
        space_time, lambda x: np.sin(np.pi * x[:, :1]), lambda _, on_initial: on_initial
    )
    data = dde.data.TimePDE(
        space_time,
        equation,
        [wall_condition, initial_condition],
        num_domain=2540,
        num_boundary=80,
        num_initial=160,
        num_test=2540,
    )
    network = dde.nn.FNN([2] + [20] * 3 + [1], "tanh", "Glorot normal")
    model = dde.Model(data, network)
    inputs = np.stack(np.broadcast_arrays(X[None, :], T[:, None]), axis=-1).reshape(-1, 2)
    weights = sum(weight.numel() for weight in network.parameters())
    rows, seconds = [], 0.0
    for method, compile_model, iterations in (
        ("DeepXDE, 20000 steps of Adam", lambda: model.compile("adam", lr=1e-3), {"iterations": 20000}),
        ("DeepXDE, then L-BFGS", lambda: model.compile("L-BFGS"), {}),
    ):
        start_time = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            compile_model()
            model.train(**iterations)
        seconds += time.perf_counter() - start_time
        states = model.predict(inputs.astype(np.float32)).reshape(EXACT.shape)
        rows.append(
            {"method": method, "weights": weights, "seconds": seconds, "relative error": _error(states)}
        )
    return rows


if __name__ == "__main__":
    main()
