"""Trainings of every surrogate on small data sets: `training_of_surrogates.py FOLDER`.

One rank first generates the data sets in FOLDER/data. Each surrogate is trained on its first compatible grid
and on its first compatible particles, once without and once with a stop and a resume. The models are in
FOLDER/NUMBER_OF_RANKS/{uninterrupted,stopped}/DATASET/METHOD/models/NAME.
"""

from __future__ import annotations

import sys
from pathlib import Path
from unittest import mock

from pipeline import generate, train, validate
from pipeline.data.card import figures
from pipeline.data.dataset import Dataset
from pipeline.data.quantity_data import QuantityDataset
from pipeline.parallel import launch
from pipeline.parallel.stopping import StoppedError
from pipeline.problem import problem_for, problem_of
from pipeline.runs.folder import RunFolder
from pipeline.training import fit
from surrogates import store
from surrogates.contract import Surrogate, compatible_surrogates, surrogate_class
from surrogates.physics.least_squares import LeastSquares
from tests.support import problems
from tests.support.trainings.several_trainings import stop_in_step
from tests.support.trainings.training_cases import no_curves, read_settings

HEAT = (
    "solver=heat",
    "solver.extent=[1.0]",
    "solver.resolution=24",
    "output.duration=0.06",
    "storage.max_error=0.1",
)
TWO_BODIES = "{kind: two_body, total_mass: 1.0, eccentricity: [0.0, 0.5], orientation: %s}"
#: Random fields and particles, which have symmetries, and both as functions of the scalar parameters.
DATASETS = {
    "heat": HEAT,
    "heat_parametric": (
        *HEAT,
        "solver.boundary.x=dirichlet",
        "solver.diffusivity.kind=constant",
        "solver.initial.kind=harmonics",
        "solver.initial.count=2",
        "quantities=[{name: hottest, of: temperature, reduce: max}]",
    ),
    "two_body": ("solver=nbody", f"solver.system={TWO_BODIES % 'random'}", "output.duration=0.5"),
    "two_body_parametric": ("solver=nbody", f"solver.system={TWO_BODIES % 'fixed'}", "output.duration=0.5"),
}
SIZES = "samples={train: 6, valid: 2, test: 1, test_extrapolation: 0, per_shard: 6}"
TRAINING = (
    "training.steps=4",
    "training.batch_size=4",
    "training.unroll=2",
    "training.warmup_steps=2",
    "training.gradient_accumulation_steps=2",
    "training.validate_every=2",
    "training.checkpoint_every=4",
    "training.precision=float64",
    "training.device=cpu",
)
#: Options of a training method, and the step of SIGUSR1. The next step is the last, between checkpoints.
TRAINING_METHODS = {
    "adamw": (("training.ema=0.9",), 2),
    "balanced": (("training.ema=0.9", "training.balance_every=2"), 2),
    "lbfgs": (("training.finish={method: lbfgs, steps: 2, iterations: 2}",), 4),
    "levenberg_marquardt": (
        ("training.finish={method: levenberg_marquardt, steps: 2, iterations: 2}",),
        4,
    ),
}


def main(folder: Path) -> None:
    """Train all surrogates."""
    size = launch.detect().size
    fit.draw_curves = no_curves
    trained_pairs: set[tuple[str, bool]] = set()
    for dataset_name, options in DATASETS.items():
        dataset_override = f"dataset={folder / 'data' / dataset_name}"
        if size == 1:
            settings = read_settings(
                f"run={folder / 'data'}", dataset_override, SIZES, "output.steps=4", *options
            )
            with mock.patch.object(figures, "draw", return_value=[]):
                generate.run(settings)
            validate.run(settings)
        for dataset in views(Dataset.open(folder / "data" / dataset_name)):
            problem = problem_of(dataset)
            for name in compatible_surrogates(problem):
                is_for_view = surrogate_class(name).learns_quantities is isinstance(dataset, QuantityDataset)
                if is_for_view and (name, problem.spec.has_particles) not in trained_pairs:
                    trained_pairs.add((name, problem.spec.has_particles))
                    train_with_all_methods(folder / str(size), dataset_name, name, dataset)


def views(dataset: Dataset) -> list[Dataset]:
    """Return the data set and, if it has any, its quantities of interest."""
    return [dataset, QuantityDataset(dataset)] if dataset.spec.quantities else [dataset]


def train_with_all_methods(folder: Path, dataset_name: str, name: str, dataset: Dataset) -> None:
    """Train a surrogate with all suitable methods, without and with a stop."""
    problem = problem_for(dataset, surrogate_class(name), {})
    surrogate = store.build(name, problems.options(name), problem, "float64")
    small_options = problems.small_options(name)
    for key, _ in surrogate_class(name).unused_options(problems.options(name), problem):
        small_options.pop(key, None)
    common_options = [f"surrogate.{key}={value}" for key, value in small_options.items()]
    common_options += ["training.noise=0.01"] if surrogate.uses_initial_state else []
    for method in suitable_methods(surrogate):
        options, stop = TRAINING_METHODS[method]
        settings_of_method = read_settings(
            f"dataset={dataset.folder}", f"surrogate={name}", *common_options, *TRAINING, *options
        )
        for interruption in ("uninterrupted", "stopped"):
            run = folder / interruption / dataset_name / method
            settings = settings_of_method.model_copy(update={"run": run})
            if interruption == "stopped":
                with stop_in_step(stop):
                    try:
                        train.run(settings)
                    except StoppedError:
                        pass
                    else:
                        raise AssertionError(f"{RunFolder.of(settings).model_folder} was trained to the end")
            train.run(settings)


def suitable_methods(surrogate: Surrogate) -> list[str]:
    """Return the methods that can train the surrogate."""
    is_suitable = {
        "levenberg_marquardt": isinstance(surrogate, LeastSquares),
        "adamw": len(surrogate.losses) == 1,
        "balanced": len(surrogate.losses) > 1,
    }
    return [method for method in TRAINING_METHODS if is_suitable.get(method, True)]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
