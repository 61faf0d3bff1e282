"""Trainings of every surrogate on small data sets: `training_of_surrogates.py FOLDER`.

One rank generates the data sets first, in FOLDER/data. Each surrogate is trained on the first grid and the
first particles that it fits, once to the end and once with a stop and a resume between, in
FOLDER/NUMBER_OF_RANKS/{straight,stopped}/DATASET/WAY/models/NAME.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline import generate, train, validate
from pipeline.data.dataset import Dataset
from pipeline.parallel import launch
from pipeline.parallel.stopping import StoppedError
from pipeline.problem import problem_for, problem_of
from pipeline.runs.folder import RunFolder
from pipeline.training import fit
from surrogates import store
from surrogates.contract import LeastSquares, Surrogate, compatible_surrogates, surrogate_class
from tests.support import problems
from tests.support.several_trainings import stopped_in_step
from tests.support.training_cases import no_curves, read

HEAT = ("solver=heat", "solver.extent=[1.0]", "solver.resolution=24", "output.duration=0.06")
#: Fields with random coefficients, fields that the drawn scalars determine, and particles.
DATASETS = {
    "heat": HEAT,
    "heat_parametric": (
        *HEAT,
        "solver.boundary.x=dirichlet",
        "solver.diffusivity.kind=constant",
        "solver.initial.kind=harmonics",
        "solver.initial.count=2",
    ),
    "two_body": (
        "solver=nbody",
        "solver.system={kind: two_body, total_mass: 1.0, eccentricity: [0.0, 0.5], orientation: fixed}",
        "output.duration=0.5",
    ),
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
#: Options of a way to train, and the step of SIGUSR1; training ends after the next one, between checkpoints.
WAYS = {
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
    for kind, options in DATASETS.items():
        data = f"dataset={folder / 'data' / kind}"
        if size == 1:
            settings = read(f"run={folder / 'data'}", data, SIZES, "output.steps=4", *options)
            generate.run(settings)
            validate.run(settings)
        dataset = Dataset.open(folder / "data" / kind)
        problem = problem_of(dataset)
        for name in compatible_surrogates(problem):
            if (name, problem.spec.has_particles) not in trained_pairs:
                trained_pairs.add((name, problem.spec.has_particles))
                train_all_ways(folder / str(size), kind, name, dataset)


def train_all_ways(folder: Path, kind: str, name: str, dataset: Dataset) -> None:
    """Train a surrogate in all ways that suit it, without and with a stop."""
    problem = problem_for(dataset, surrogate_class(name), {})
    surrogate = store.build(name, problems.options(name), problem, "float64")
    common = [f"surrogate.{key}={value}" for key, value in problems.small_options(name).items()]
    common += ["training.noise=0.01"] if surrogate.uses_initial_state else []
    for way in suitable_ways(surrogate):
        options, stop = WAYS[way]
        for ending in ("straight", "stopped"):
            run = folder / ending / kind / way
            settings = read(
                f"run={run}", f"dataset={dataset.folder}", f"surrogate={name}", *common, *TRAINING, *options
            )
            if ending == "stopped":
                with stopped_in_step(stop):
                    try:
                        train.run(settings)
                    except StoppedError:
                        pass
                    else:
                        raise AssertionError(f"{RunFolder.of(settings).model_folder} was trained to the end")
            train.run(settings)


def suitable_ways(surrogate: Surrogate) -> list[str]:
    """Return the ways that can train the surrogate."""
    is_suitable = {
        "levenberg_marquardt": isinstance(surrogate, LeastSquares),
        "adamw": len(surrogate.losses) == 1,
        "balanced": len(surrogate.losses) > 1,
    }
    return [way for way in WAYS if is_suitable.get(way, True)]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
