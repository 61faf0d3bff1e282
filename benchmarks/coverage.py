"""The coverage of prediction intervals, and the alarms of the guard, on held-out trajectories.

    python -m benchmarks.coverage

A single model and an ensemble of three members predict heat conduction (FNO), conduction through a composite
(U-Net), a forced flow (FNO) and three bodies (perceptron). Data and trainings are smaller than those of the
shipped experiments, so that the script takes about 15 minutes on one core. The errors of these models are
larger than those of the experiments, and the promise of the intervals does not depend on the errors. The
coverage of one calibration varies by some points, so the splits `calibration` and `test` are exchanged once,
and the numbers are means of both halves. Shifted trajectories have parameters outside the training range
(`test_extrapolation`) or, for three bodies, other masses.
"""

from __future__ import annotations

import copy
import os
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mpi4py import MPI

import surrogates
from benchmarks.support.measuring import print_and_store
from benchmarks.support.training import generate_dataset
from pipeline import train
from pipeline.data.dataset import Dataset
from pipeline.evaluation.intervals import coverage
from pipeline.evaluation.intervals.calibrate import calibrate
from pipeline.evaluation.intervals.residuals import HeldOut
from pipeline.evaluation.intervals.result import ConfidenceResult, CoverageResult
from pipeline.runs.folder import RunFolder
from surrogates import store
from surrogates.contract import Surrogate
from tests.support.trainings.training_cases import read_settings

LEVEL = 0.9
MEMBERS = 3


@dataclass(frozen=True)
class System:
    """A data set with held-out trajectories, the options of a training, and shifted data.

    `shifted` holds the changes of a second data set; it is empty if the data set has `test_extrapolation`.
    """

    data: tuple[str, ...]
    training: tuple[str, ...]
    shifted: tuple[str, ...] = ()


def _samples(train: int, held_out: int, outside: int, per_shard: int) -> str:
    return (
        f"samples={{train: {train}, valid: 32, test: {held_out}, calibration: {held_out}, "
        f"test_extrapolation: {outside}, per_shard: {per_shard}}}"
    )


def _steps(count: int) -> tuple[str, ...]:
    return tuple(f"training.{key}={count}" for key in ("steps", "validate_every", "checkpoint_every"))


SYSTEMS: Mapping[str, System] = {
    "heat": System(
        (
            "solver=heat",
            "solver.resolution=32",
            "storage.max_error=0.2",
            "output={duration: 0.1, steps: 10}",
            "quantities=[{name: hottest, of: temperature, reduce: max}]",
            _samples(192, 400, 96, 32),
        ),
        ("surrogate=fno", "surrogate.width=12", "surrogate.modes=8", "training.batch_size=8", *_steps(300)),
    ),
    "composite": System(
        (
            "solver=heat",
            "solver.resolution=96",
            "solver.diffusivity.kind=inclusions",
            "solver.diffusivity.range=[0.05,0.15]",
            "solver.diffusivity.contrast=[100.0,100.0]",
            "solver.diffusivity.num_inclusions=30",
            "solver.diffusivity.inclusion_radius=[0.03,0.06]",
            "solver.scheme=rkl2",
            "solver.tolerance=1e-2",
            "storage.max_error=0.5",
            "output={duration: 0.1, steps: 10, coarsen: 3}",
            "quantities=[{name: hottest, of: temperature, reduce: max}]",
            _samples(192, 400, 96, 32),
        ),
        (
            "surrogate=unet",
            "surrogate.width=8",
            "surrogate.predicts=all_frames",
            "training.unroll=10",
            "training.batch_size=8",
            *_steps(500),
        ),
    ),
    "flow": System(
        (
            "solver=navier_stokes",
            "solver.resolution=32",
            "solver.viscosity=[2e-3,4e-3]",
            "storage.max_error=0.2",
            "output={duration: 10.0, steps: 20}",
            "quantities=[{name: strongest, of: vorticity, reduce: max}]",
            _samples(96, 400, 96, 32),
        ),
        ("surrogate=fno", "surrogate.width=12", "surrogate.modes=8", "training.batch_size=8", *_steps(300)),
    ),
    "three bodies": System(
        (
            "solver=nbody",
            "storage.max_failed_share=0.05",
            "output={duration: 1.0, steps: 50}",
            _samples(2000, 1000, 0, 500),
        ),
        (
            "surrogate=mlp",
            "training.unroll=50",
            "training.batch_size=32",
            "training.learning_rate=2e-3",
            *_steps(1000),
        ),
        ("solver.system.mass_ratio=[0.5,1.0]", _samples(500, 200, 0, 500)),
    ),
}


def main() -> None:
    """Print and store the coverage of all systems."""
    # This variable sets the number of threads of the train stage.
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        for system, options in SYSTEMS.items():
            for row in _rows(Path(name) / system.replace(" ", "_"), system, options):
                rows.append(row)
                print(row, flush=True)
    claim = (
        "Intervals of 90 % on held-out trajectories: share of the values inside (marginal), share of the "
        "whole trajectories inside (joint), mean width in standard deviations, alarms, and rank correlation "
        "of expected and measured error"
    )
    print_and_store("coverage", claim, rows, ["torch", "numpy"])


def _rows(folder: Path, name: str, system: System) -> list[dict[str, object]]:
    start = time.perf_counter()
    dataset = Dataset.open(generate_dataset(folder, *system.data))
    shifted = None
    if system.shifted:
        shifted = Dataset.open(generate_dataset(folder / "shifted", *system.data, *system.shifted))
    print(f"{name}: generated in {time.perf_counter() - start:.0f} s", flush=True)
    overrides = (f"run={folder}", "training.device=cpu", *system.training, f"ensemble={MEMBERS}")
    settings = read_settings(*overrides)
    train.run(settings)
    model_folder = RunFolder.of(settings).model_folder
    print(f"{name}: trained in {time.perf_counter() - start:.0f} s", flush=True)
    models: list[tuple[str, Surrogate]] = [
        ("single model", surrogates.load(store.member_folder(model_folder, 0))),
        (f"ensemble of {MEMBERS}", surrogates.load(model_folder)),
    ]
    return [_row(name, kind, model, dataset, shifted) for kind, model in models]


def _row(
    name: str, kind: str, surrogate: Surrogate, dataset: Dataset, shifted: Dataset | None
) -> dict[str, object]:
    """Return the coverage of a surrogate on the test split and on shifted trajectories."""
    held_out = HeldOut(surrogate, dataset, 32, MPI.COMM_SELF)
    calibrated = calibrate(held_out)
    intervals, confidence = coverage.measure(held_out, calibrated, ["test", "test_extrapolation"])
    test = intervals.splits["test"]
    exchanged = HeldOut(surrogate, _exchanged(dataset), 32, MPI.COMM_SELF)
    exchanged_intervals, _ = coverage.measure(exchanged, calibrate(exchanged), ["test"])
    halves = [test.at(LEVEL), exchanged_intervals.splits["test"].at(LEVEL)]
    if shifted is None:
        outside, outside_confidence = intervals.splits["test_extrapolation"], confidence
        outside_split = "test_extrapolation"
    else:
        other = HeldOut(surrogate, shifted, 32, MPI.COMM_SELF)
        other_intervals, outside_confidence = coverage.measure(other, calibrated, ["test"])
        outside, outside_split = other_intervals.splits["test"], "test"
    outside_entry = outside.at(LEVEL)
    return {
        "system": name,
        "model": kind,
        "median error": float(np.median([error for error in confidence.splits["test"].error if error])),
        "calibration": intervals.trajectories,
        "test": test.trajectories,
        "marginal": _mean(half.marginal for half in halves),
        "at the end": _mean(half.marginal_end for half in halves),
        "width": _mean(half.marginal_width for half in halves),
        "joint": _mean(half.joint for half in halves),
        "joint width": _mean(half.joint_width for half in halves),
        "marginal of each half": [half.marginal for half in halves],
        "joint of each half": [half.joint for half in halves],
        **_quantity(test),
        "marginal, shifted": outside_entry.marginal,
        "joint, shifted": outside_entry.joint,
        **_alarms("alarms", confidence, "test"),
        **_alarms("alarms, shifted", outside_confidence, outside_split),
        "rank correlation": confidence.splits["test"].rank_correlation,
    }


def _exchanged(dataset: Dataset) -> Dataset:
    """Return the data set with its splits `calibration` and `test` exchanged."""
    result = copy.copy(dataset)
    result._splits = dict(dataset._splits)
    result._splits["test"], result._splits["calibration"] = (
        dataset._splits[name] for name in ("calibration", "test")
    )
    return result


def _mean(values: Iterable[float | None]) -> float:
    return float(np.mean([value for value in values if value is not None]))


def _quantity(test: CoverageResult) -> dict[str, object]:
    """Return the coverage of the first quantity of interest, if there is one."""
    for levels in test.quantities.values():
        entry = next(level for level in levels if level.nominal == LEVEL)
        return {"quantity, marginal": entry.marginal, "quantity, joint": entry.joint}
    return {}


def _alarms(name: str, confidence: ConfidenceResult, split: str) -> dict[str, object]:
    """Return the share of trajectories outside the range, and that of unusual inputs."""
    entry = confidence.splits[split]
    return {f"{name} (range)": entry.outside_range, f"{name} (distance)": entry.alarm}


if __name__ == "__main__":
    main()
