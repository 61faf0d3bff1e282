"""The errors and the time of `pod` on the system `chip` against the number of modes.

    python -m benchmarks.pod_modes [DATASET]

Each row is a training with `experiment=chip` and another largest number of modes, once with a perceptron that
is affine in the powers of the heaters, as `Spec.linear_in` declares, and once with an ordinary perceptron.
Errors are relative L2 errors of the test split, means over trajectories and frames: of the projection onto
the modes, and of the prediction. The times are medians of one thread: all ten frames of a trajectory, and the
temperature of a line of cells by `at_cells`, without a field. Without DATASET the data are generated.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import PropertyMock, patch

import numpy as np
import torch

import surrogates
from benchmarks.support.measuring import medians, print_and_store
from benchmarks.support.training import generate_dataset
from pipeline import train
from pipeline.data.dataset import Dataset
from pipeline.runs.folder import RunFolder
from simsurrogate.spec import Spec
from surrogates.pod import POD
from tests.support.trainings.training_cases import read_settings

MODES = (5, 10, 20, 40)


def main() -> None:
    """Print and store the errors and the times."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[1]) if sys.argv[1:] else generate_dataset(Path(folder), "experiment=chip")
        dataset = Dataset.open(path)
        rows = [_row(Path(folder), dataset, modes) for modes in MODES]
    claim = (
        f"`pod` on `chip`, {' x '.join(map(str, dataset.spec.shape))} cells, "
        f"{dataset.num_trajectories('train')} trajectories: errors and times against the number of modes, "
        "with a perceptron that is affine in the powers and without"
    )
    print_and_store("pod_modes", claim, rows, ["torch", "numpy"])


def _row(folder: Path, dataset: Dataset, modes: int) -> dict[str, object]:
    errors = {}
    for name in ("affine", "ordinary"):
        no_parameters = patch.object(Spec, "linear_parameters", PropertyMock(return_value=()))
        with no_parameters if name == "ordinary" else nullcontext():
            settings = read_settings(
                "experiment=chip",
                f"run={folder / f'{name}-{modes}'}",
                f"dataset={dataset.folder}",
                f"surrogate.modes={modes}",
                "surrogate.left_out_variance=0",
                "training.device=cpu",
            )
            train.run(settings)
            surrogate = surrogates.load(RunFolder.of(settings).model_folder)
        assert isinstance(surrogate, POD)
        projection, errors[name] = _errors(surrogate, dataset)
    return {
        "modes": modes,
        "projection error": f"{projection:.2%}",
        "error, affine": f"{errors['affine']:.2%}",
        "error, ordinary": f"{errors['ordinary']:.2%}",
        **_milliseconds(surrogate, dataset),
    }


def _errors(surrogate: POD, dataset: Dataset) -> tuple[float, float]:
    """Return the mean relative L2 error of the projection and of the prediction."""
    errors = []
    for position in range(dataset.num_trajectories("test")):
        trajectory = dataset.trajectory("test", position)
        truth = trajectory.state[1:]
        closest = surrogate.closest(torch.from_numpy(truth)).numpy()
        predicted = surrogate.predict(trajectory.state[:1], trajectory.parameters, trajectory.time).mean
        errors.append(
            [
                np.linalg.norm((states - truth).reshape(len(truth), -1), axis=1)
                / np.linalg.norm(truth.reshape(len(truth), -1), axis=1)
                for states in (closest, predicted[0, 1:].numpy())
            ]
        )
    projection, error = np.mean(errors, axis=(0, 2))
    return float(projection), float(error)


def _milliseconds(surrogate: POD, dataset: Dataset) -> dict[str, object]:
    """Return the time (ms) of all frames, and of a line of cells."""
    trajectory = dataset.trajectory("test", 0)
    start, parameters, times = trajectory.state[:1], trajectory.parameters, trajectory.time
    size = surrogate.problem.spec.shape[0]
    line = surrogate.at_cells([(index, size // 2, size // 2) for index in range(size)])
    seconds = medians(
        {
            "field": lambda: surrogate.predict(start, parameters, times),
            "line": lambda: line.predict(parameters, times[1:]),
        },
        rounds=30,
    )
    return {"all frames, ms": 1e3 * seconds["field"], "line of cells, ms": 1e3 * seconds["line"]}


if __name__ == "__main__":
    main()
