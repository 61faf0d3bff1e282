"""Physics-informed networks that never see a frame, through all stages: what they reach, and in which time.

`pipeline.chain` generates the data of an experiment, which judge and are not learned from, and trains
`surrogate=pinn` with `data_weight=0` on two ranks of one thread. The seconds are those of its record.
Errors are relative, in the L2 norm over sites and times, of roll-outs of the test trajectories, which have
parameters of their own where these are drawn: the mean over channels.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import surrogates
from benchmarks.measuring import keep
from pipeline.data.dataset import Dataset

#: Options of each experiment: networks of at most some thousand weights, and points for each step.
EXPERIMENTS = {
    "heat_parametric": ("surrogate.width=32", "surrogate.layers=2", "training.finish.steps=25"),
    "taylor_green": ("surrogate.width=24", "surrogate.layers=2", "training.finish.steps=25"),
    "kepler": ("surrogate.width=24", "surrogate.layers=2", "training.finish.steps=40"),
}
TRAINING = (
    "surrogate=pinn",
    "surrogate.waves=1",
    "surrogate.points=128",
    "surrogate.data_weight=0",
    "training.steps=1",
    "training.batch_size=16",
    "training.precision=float64",
    "training.finish.method=levenberg_marquardt",
    "training.finish.iterations=15",
    "training.validate_every=1000",
    "training.checkpoint_every=10",
    "training.device=cpu",
    "launcher.ranks={generate: 2, validate: 2, train: 2, evaluate: 2}",
)


def main() -> None:
    """Prints and keeps times and errors."""
    rows = [_judged(*item) for item in EXPERIMENTS.items()]
    claim = "Physics-informed networks without data, two ranks on two cores: time and error"
    keep("pinn_without_data", claim, rows, ["torch", "DeepXDE", "numpy"])


def _judged(experiment: str, options: tuple[str, ...]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pipeline.chain", f"experiment={experiment}", f"run={folder}"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run([*command, *TRAINING, *options], check=True, env=environment)
        record = json.loads((Path(folder) / "records" / "train-000.json").read_text())
        model = Path(folder) / "models" / "pinn"
        surrogate = surrogates.load(model)
        errors, unchanged = _errors(surrogate, Dataset.open(Path(folder) / "dataset"))
    return {
        "experiment": experiment,
        "weights": sum(weight.numel() for weight in surrogate.parameters()),
        "training, s": record["seconds"],
        "median error": float(np.median(errors)),
        "largest error": float(np.max(errors)),
        "median error of no change": float(np.median(unchanged)),
    }


def _errors(surrogate: surrogates.contract.Surrogate, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Of the surrogate and of persistence, for each test trajectory."""
    windows = dataset.windows("test", len(dataset.times))
    batch = windows.take(np.arange(len(windows)))
    problem = surrogate.problem
    named = dict(zip(problem.coefficients, np.moveaxis(batch["coefficients"], 1, 0), strict=True))
    named |= dict(zip(problem.parameters, batch["parameters"].T, strict=True))
    truth = batch["state"]
    found = surrogate.predict(truth[:, 0], named, batch["time"][0]).numpy()

    def error(of: np.ndarray) -> np.ndarray:
        axes = (1, *range(3, truth.ndim))
        missed, size = (np.sqrt((values[:, 1:] ** 2).sum(axes)) for values in (of - truth, truth))
        return np.asarray((missed / size).mean(1))

    return error(found), error(np.broadcast_to(truth[:, :1], truth.shape))


if __name__ == "__main__":
    main()
