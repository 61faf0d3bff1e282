"""The 1-D heat example of DeepXDE, solved by DeepXDE and by `surrogate=pinn`: error against time.

    u_t = 0.4 u_xx on 0 < x < 1, u = 0 at both ends, u(x, 0) = sin(pi x), 0 < t < 1

DeepXDE runs the example of its documentation: 2540 points inside, 80 at the walls, 160 at the start, 3 layers
of width 20, 20000 steps of Adam, then L-BFGS, float32. The surrogate `pinn` satisfies the boundary and
initial conditions by its form, and is trained by the Levenberg-Marquardt method in float64. Neither uses
data. The error is relative to the exact solution, in the L2 norm over 256 points and 200 times after the
start. The seconds of `pinn` are those of the whole train stage, with its validation.
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
from benchmarks.support.measuring import keep
from pipeline import generate, train, validate
from pipeline.runs.folder import RunFolder
from simsurrogate.relative_l2 import relative_l2
from tests.support.training_cases import read_settings

DIFFUSIVITY = 0.4
POINTS, FRAMES = 256, 200
#: Steps of the second-order method, each with 256 new points and up to 20 trials on them.
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
    """Print and store errors and times."""
    # The train stage uses as many threads as this variable says.
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
    keep("pinn_heat_1d", claim, rows, ["torch", "DeepXDE"])


def _error(states: np.ndarray) -> float:
    """Return the relative L2 error over all points and the times after the start."""
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
    """Return the rows of DeepXDE's examples/pinn_forward/heat.py, after Adam and after L-BFGS."""
    os.environ["DDE_BACKEND"] = "pytorch"
    import deepxde as dde

    dde.config.set_random_seed(0)
    space = dde.geometry.GeometryXTime(dde.geometry.Interval(0, 1), dde.geometry.TimeDomain(0, 1))

    def equation(x: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        u_t = dde.grad.jacobian(u, x, i=0, j=1)
        u_xx = dde.grad.hessian(u, x, i=0, j=0)
        return u_t - DIFFUSIVITY * u_xx

    walls = dde.icbc.DirichletBC(space, lambda x: 0, lambda _, on_boundary: on_boundary)
    start = dde.icbc.IC(space, lambda x: np.sin(np.pi * x[:, :1]), lambda _, on_initial: on_initial)
    data = dde.data.TimePDE(
        space, equation, [walls, start], num_domain=2540, num_boundary=80, num_initial=160, num_test=2540
    )
    network = dde.nn.FNN([2] + [20] * 3 + [1], "tanh", "Glorot normal")
    model = dde.Model(data, network)
    inputs = np.stack(np.broadcast_arrays(X[None, :], T[:, None]), axis=-1).reshape(-1, 2)
    weights = sum(weight.numel() for weight in network.parameters())
    rows, seconds = [], 0.0
    for method, prepare, iterations in (
        ("DeepXDE, 20000 steps of Adam", lambda: model.compile("adam", lr=1e-3), {"iterations": 20000}),
        ("DeepXDE, then L-BFGS", lambda: model.compile("L-BFGS"), {}),
    ):
        begin = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            prepare()
            model.train(**iterations)
        seconds += time.perf_counter() - begin
        states = model.predict(inputs.astype(np.float32)).reshape(EXACT.shape)
        rows.append(
            {"method": method, "weights": weights, "seconds": seconds, "relative error": _error(states)}
        )
    return rows


if __name__ == "__main__":
    main()
