"""The errors and training times of physics-informed networks without data.

The stages generate and validate the data of an experiment for the evaluation. The train stage then trains
`surrogate=pinn` with `data_weight=0` on two ranks of one thread each. The time is that of the train stage.
The errors are relative L2 errors over sites and times, of rollouts on the test trajectories, averaged over
channels. Drawn parameters differ between test and training trajectories. The heat data have 96² cells,
because the discretisation error 1.2e-3 on the 32² cells of the experiment is larger than the error of the
network.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import surrogates
from benchmarks.support.measuring import print_and_store
from pipeline.data.dataset import Dataset
from surrogates.contract import Surrogate

MPIRUN = Path(sys.executable).parent / "mpirun"

#: The experiment and the options for each problem.
EXPERIMENTS = {
    "heat, conductivity and two amplitudes drawn": (
        "heat_parametric",
        (
            "solver.resolution=96",
            "surrogate.width=32",
            "surrogate.points=512",
            "training.finish.steps=40",
        ),
    ),
    "Taylor-Green vortices, viscosity and amplitude drawn": (
        "taylor_green",
        ("surrogate.width=24", "surrogate.points=64", "training.finish.steps=12"),
    ),
    "two bodies, e = 0.6, a whole orbit from periapsis": (
        "kepler",
        (
            "solver.system.radius=[1.0, 1.0]",
            "solver.system.eccentricity=[0.6, 0.6]",
            "solver.system.mass_ratio=[1.0, 1.0]",
            "surrogate.width=20",
            "surrogate.points=128",
            "surrogate.causality=1000",
            "training.batch_size=4",
            "training.finish.steps=60",
        ),
    ),
}
TRAINING = (
    "surrogate=pinn",
    "surrogate.layers=2",
    "surrogate.waves=1",
    "surrogate.data_weight=0",
    "training.steps=1",
    "training.batch_size=16",
    "training.precision=float64",
    "training.finish.method=levenberg_marquardt",
    "training.finish.iterations=12",
    "training.validate_every=1000",
    "training.checkpoint_every=10",
    "training.device=cpu",
)


def main() -> None:
    """Print and store the time and the errors of each problem."""
    rows = [
        {"problem": problem} | _row(*experiment_options)
        for problem, experiment_options in EXPERIMENTS.items()
    ]
    claim = "Physics-informed networks without data, two ranks on two cores: time and error"
    print_and_store("pinn_without_data", claim, rows, ["torch", "DeepXDE", "numpy"])


def _row(experiment: str, options: tuple[str, ...]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        for stage in ("generate", "validate", "train"):
            start = time.perf_counter()
            command = [str(MPIRUN), "-n", "2", sys.executable, "-m", f"pipeline.{stage}"]
            command += [f"experiment={experiment}", f"run={folder}", *TRAINING, *options]
            subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
            seconds = time.perf_counter() - start
        surrogate = surrogates.load(Path(folder) / "models" / "pinn")
        errors, persistence_errors = _errors(surrogate, Dataset.open(Path(folder) / "dataset"))
    return {
        "experiment": experiment,
        "weights": sum(weight.numel() for weight in surrogate.parameters()),
        "training, s": seconds,
        "median error": float(np.median(errors)),
        "largest error": float(np.max(errors)),
        "median error of persistence": float(np.median(persistence_errors)),
    }


def _errors(surrogate: Surrogate, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return the errors of the surrogate and of persistence, for each test trajectory."""
    windows = dataset.windows("test", len(dataset.times))
    batch = windows.take(np.arange(len(windows)))
    problem = surrogate.problem
    values_by_name = dict(
        zip(problem.spec.coefficient_channels, np.moveaxis(batch["coefficient_fields"], 1, 0), strict=True)
    )
    values_by_name |= dict(zip(problem.spec.parameter_names, batch["parameters"].T, strict=True))
    truth = batch["state"]
    prediction = surrogate.predict(truth[:, 0], values_by_name, batch["time"][0]).mean.numpy()

    def error(states: np.ndarray) -> np.ndarray:
        axes = (1, *range(3, truth.ndim))
        error_norm, norm = (np.sqrt((values[:, 1:] ** 2).sum(axes)) for values in (states - truth, truth))
        return np.asarray((error_norm / norm).mean(1))

    return error(prediction), error(np.broadcast_to(truth[:, :1], truth.shape))


if __name__ == "__main__":
    main()
