"""Trains every surrogate on the small data sets that it fits, in one process a rank: `FOLDER`.

One rank makes the data sets first, in FOLDER/data. Each surrogate is trained on the first grid and the first
bodies that it fits, to the end, and once more with a stop and a resume between, in
FOLDER/NUMBER_OF_RANKS/{straight,stopped}/DATASET/WAY/models/NAME.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from pipeline import generate, train, validate
from pipeline.config.settings import Settings
from pipeline.data.dataset import Dataset
from pipeline.parallel import launch
from pipeline.parallel.stopping import StoppedError
from pipeline.problem import problem_for, problem_of
from pipeline.training import fit, loop
from surrogates import store
from surrogates.contract import LeastSquares, Problem, compatible_surrogates, surrogate_class
from tests.support import problems
from tests.support.training_cases import read

#: Fields that random coefficients tell, fields that drawn scalars tell alone, and bodies.
HEAT = ("solver=heat", "solver.extent=[1.0]", "solver.resolution=24", "output.duration=0.06")
DATASETS = {
    "heat": HEAT,
    "heat_determined": (
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
#: Ways to train, and the step in which they are asked to stop: after the next one, between two checkpoints.
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
    size = launch.detect().size
    # Pictures would take most of the time.
    fit.draw_curves = lambda folder: None
    trained: set[tuple[str, bool]] = set()
    for kind, options in DATASETS.items():
        data = f"dataset={folder / 'data' / kind}"
        if size == 1:
            made = read(f"run={folder / 'data'}", data, SIZES, "output.steps=4", *options)
            generate.run(made)
            validate.run(made)
        dataset = Dataset.open(folder / "data" / kind)
        problem = problem_of(dataset)
        new = [
            name
            for name in compatible_surrogates(problem)
            if (name, problem.spec.has_particles) not in trained
        ]
        trained |= {(name, problem.spec.has_particles) for name in new}
        for name in new:
            for way in ways(name, dataset):
                more, step = WAYS[way]
                chosen = (*smaller(name), *TRAINING, *noise(name, problem), *more)
                settings = read(data, f"surrogate={name}", *chosen)
                for ending in ("straight", "stopped"):
                    run = folder / str(size) / ending / kind / way
                    here = settings.model_copy(update={"run": run})
                    if ending == "stopped":
                        stop(here, step)
                    train.run(here)


def ways(name: str, dataset: Dataset) -> list[str]:
    """Those of `WAYS` that can train the surrogate."""
    problem = problem_for(dataset, surrogate_class(name), {})
    surrogate = store.build(name, problems.options(name), problem, "float64")
    suits = {
        "levenberg_marquardt": isinstance(surrogate, LeastSquares),
        "adamw": len(surrogate.losses) == 1,
        "balanced": len(surrogate.losses) > 1,
    }
    return [way for way in WAYS if suits.get(way, True)]


def smaller(name: str) -> list[str]:
    return [f"surrogate.{key}={value}" for key, value in problems.SMALLER.get(name, {}).items()]


def noise(name: str, problem: Problem) -> list[str]:
    """Noise for those that see the state it is put on."""
    surrogate = store.build(name, problems.options(name), problem, "float64")
    return ["training.noise=0.01"] if surrogate.uses_initial_state else []


def stop(settings: Settings, step: int) -> None:
    """Trains until rank 0 is asked to stop, in a step."""
    usual = loop._take_step

    def disturbed(*arguments: Any) -> Any:
        found = usual(*arguments)
        if arguments[2].step == step and launch.detect().rank == 0:
            os.kill(os.getpid(), signal.SIGUSR1)
        return found

    loop._take_step = disturbed
    try:
        train.run(settings)
    except StoppedError:
        return
    finally:
        loop._take_step = usual
    raise AssertionError(f"{settings.model_folder} was trained to the end")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
