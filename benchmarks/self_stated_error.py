"""The self-stated error of data sets, compared with independent solutions; and the cost of the checks.

`validate` states the error of a data set from solutions of the same solver with a finer grid and a tenth of
the tolerance. For three experiments, other methods solve the same trajectories (`independent_solutions`): a
Fourier collocation with explicit Runge-Kutta steps for heat conduction with random conductivity, a
pseudo-spectral method with an integrating factor on twice the grid for turbulence, and DOP853 for a Kepler
orbit. The error of the stored frames against these solutions must agree with the stated error within a factor
of 1.5.

The second table holds the self-stated error of each shipped experiment for the first trajectories, and the
costs of the checks of the physics relative to the generation of the same trajectories.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from mpi4py import MPI
from omegaconf import OmegaConf

from benchmarks.support.independent_solutions import bodies, decaying_flow, heat_in_periodic_square
from benchmarks.support.measuring import print_and_store
from pipeline import generate, validate
from pipeline.config import settings as settings_module
from pipeline.data.dataset import Dataset
from pipeline.data.format.structure import Structures
from pipeline.data.manifest import read_complete_manifest
from pipeline.data.windows import StoredTrajectory
from pipeline.physics_checks.results import solver_of, solver_results

#: The largest ratio of the independent error and the stated one.
LARGEST_RATIO = 1.5

SAMPLES = ("samples.train=1", "samples.valid=1", "samples.test=1", "samples.calibration=0")

#: The experiments, with the fewest trajectories that measure a cost.
EXPERIMENTS = (
    *("smoke", "heat_fno", "heat_parametric", "navier_stokes", "taylor_green", "shear_layers", "turbulence"),
    *("kolmogorov", "kepler", "two_body", "three_body", "plummer", "chip", "composite"),
)


def main() -> None:
    """Print and store both tables; the names of experiments on the command line choose some of them."""
    chosen = sys.argv[1:]
    rows = [
        row
        for experiment, solve in INDEPENDENT_SOLUTIONS.items()
        if not chosen or experiment in chosen
        for row in _confirmed(experiment, solve)
    ]
    if not chosen:
        claim = "Self-stated error of data sets compared with independent solutions"
        print_and_store("self_stated_error", claim, rows, ["numpy", "scipy"])
    costs = [_cost(experiment) for experiment in chosen or EXPERIMENTS]
    for row in [*rows, *costs] if chosen else costs:
        print("  ".join(f"{name}: {value}" for name, value in row.items()), flush=True)
    wrong = [row for row in rows if not 1 / LARGEST_RATIO <= float(str(row["ratio"])) <= LARGEST_RATIO]
    if wrong:
        raise SystemExit(f"the stated error is not confirmed within a factor of {LARGEST_RATIO}: {wrong}")


def _heat(dataset: Dataset, trajectory: StoredTrajectory) -> np.ndarray:
    diffusivity = trajectory.coefficient_fields[0].astype(np.float64)
    return heat_in_periodic_square(trajectory.state[0, 0].astype(np.float64), diffusivity, dataset.times)


def _flow(dataset: Dataset, trajectory: StoredTrajectory) -> np.ndarray:
    vorticity = trajectory.state[0, 0].astype(np.float64)
    return decaying_flow(vorticity, trajectory.parameters["viscosity"], dataset.times, cells=256, step=0.01)


def _orbit(dataset: Dataset, trajectory: StoredTrajectory) -> np.ndarray:
    masses = trajectory.coefficient_fields[0]
    return bodies(trajectory.state[0], masses, dataset.times, constant=1.0)


#: The independent solution of a stored trajectory, by experiment.
INDEPENDENT_SOLUTIONS: dict[str, Callable[[Dataset, StoredTrajectory], np.ndarray]] = {
    "heat_fno": _heat,
    "turbulence": _flow,
    "kepler": _orbit,
}


def _confirmed(
    experiment: str, solve: Callable[[Dataset, StoredTrajectory], np.ndarray]
) -> list[dict[str, object]]:
    """Return the stated and the independent error of each field in the first trajectories."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        settings = _settings(
            Path(folder), f"experiment={experiment}", *SAMPLES, "samples.test_extrapolation=1"
        )
        generate.run(settings)
        validate.run(settings)
        dataset = Dataset.open(settings.dataset)
        stated = dataset.self_stated_error
        assert stated is not None
        for split, fields in stated.splits.items():
            trajectory = dataset.trajectory(split, 0)
            truth = solve(dataset, trajectory)[-1]
            stored = trajectory.state[-1].astype(np.float64)
            for field, channels in zip(dataset.spec.fields, dataset.spec.field_channels, strict=True):
                part = list(channels)
                error = float(np.linalg.norm(stored[part] - truth[part]) / np.linalg.norm(truth[part]))
                worst = fields[field.name].worst[-1]
                assert worst is not None
                rows.append(
                    {
                        "experiment": experiment,
                        "split": split,
                        "field": field.name,
                        "stated error": worst,
                        "independent error": float(f"{error:.3g}"),
                        "ratio": float(f"{error / worst:.3g}"),
                    }
                )
    return rows


def _cost(experiment: str) -> dict[str, object]:
    """Return the stated error of the first trajectories, and the costs in trajectories of the generation."""
    with tempfile.TemporaryDirectory() as folder:
        settings = _settings(
            Path(folder), f"experiment={experiment}", *SAMPLES, "samples.test_extrapolation=0"
        )
        generate.run(settings)
        manifest = read_complete_manifest(settings.dataset)
        trajectories = sum(entry.trajectories for entry in manifest.shards)
        seconds = sum(entry.core_seconds for entry in manifest.shards) / trajectories
        start = time.perf_counter()
        solver_results(
            settings,
            settings.dataset,
            manifest,
            Structures(manifest.header),
            data_solver=solver_of(settings, manifest),
            world=MPI.COMM_WORLD,
        )
        check_seconds = (time.perf_counter() - start) / trajectories
        validate.run(settings)
        stated: dict[str, Any] = json.loads((settings.dataset / "validation.json").read_text())[
            "self_stated_error"
        ]
    row: dict[str, object] = {"experiment": experiment}
    for name, errors in stated["splits"]["train"].items():
        parts = (errors[kind]["last_worst"] if errors[kind] else None for kind in ("space", "time"))
        row[name] = " + ".join("-" if part is None else f"{100 * part:.2g} %" for part in parts)
    sampled = sum(stated["trajectories"].values())
    return row | {
        "checks of a trajectory over its generation": float(f"{check_seconds / seconds:.2g}"),
        "a more accurate solution over a trajectory": float(
            f"{stated['core_seconds'] / sampled / seconds:.2g}"
        ),
    }


def _settings(folder: Path, *overrides: str) -> settings_module.Settings:
    with hydra.initialize_config_module("configs", version_base="1.3"):
        config = hydra.compose("config", overrides=[f"run={folder}", *overrides])
    container: Any = OmegaConf.to_container(config, resolve=True)
    return settings_module.read(container)


if __name__ == "__main__":
    main()
