"""Model collapse of surrogates: each generation learns the rollouts of the surrogate before it.

    python -m benchmarks.collapse.surrogates
    python -m benchmarks.collapse.surrogates --small

A Fourier neural operator learns heat conduction or decaying turbulence from trajectories of the solver. It
then predicts new trajectories, from initial states of the same distribution, and the next generation learns
these rollouts in place of the solver's data. Four policies choose the training data of a generation, see
`benchmarks.support.generations.POLICIES`. Each generation is compared with the solver on test trajectories.

The study writes docs/studies/collapse.md with its figures. It takes about an hour on each of two cores:
`python -m benchmarks.collapse.surrogates heat` and `... flow` run one system each, at the same time. The same
command continues after an interruption. `--small` takes two minutes and writes the page to the study folder.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch

from benchmarks.support import collapse_page, studies
from benchmarks.support.generations import POLICIES, Chain, Size, System

#: The largest residuals keep about two thirds of the rollouts of the first generation.
SYSTEMS = {
    "heat": System(
        title="heat conduction",
        solver=("solver=heat", "solver.resolution=24"),
        output=("output={duration: 0.05, steps: 10}", "storage.max_error=0.2"),
        field="temperature",
        largest_shell=12,
        largest_residual=0.26,
    ),
    "flow": System(
        title="decaying turbulence",
        solver=(
            *("solver=navier_stokes", "solver.resolution=32", "solver.viscosity=[3e-4,6e-4]"),
            *("solver.forcing.kind=none", "solver.initial.kind=random_field"),
            "solver.initial.amplitude=[1.0,1.0]",
        ),
        output=("output={duration: 4.0, steps: 10}", "storage.max_error=0.2"),
        field="velocity",
        largest_shell=10,
        largest_residual=0.23,
    ),
}
FULL = Size(generations=10, seeds=(0, 1, 2), train=64, valid=8, test=32, steps=400)
SMALL = Size(generations=3, seeds=(0,), train=8, valid=4, test=8, steps=50)


def main() -> None:
    """Run the chains of the chosen systems, and write the page once all systems have results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("system", nargs="?", choices=SYSTEMS, help="the system; all by default")
    parser.add_argument("--small", action="store_true", help="a check of the study in two minutes")
    arguments = parser.parse_args()
    # This variable sets the number of threads of the train stage.
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    size = SMALL if arguments.small else FULL
    folder = Path("runs", "collapse-small" if arguments.small else "collapse").absolute()
    for key in [arguments.system] if arguments.system else SYSTEMS:
        for seed in size.seeds:
            for policy in POLICIES:
                for _ in Chain(folder, key, SYSTEMS[key], policy, seed, size).run():
                    pass
    measurements = collapse_page.read_measurements(folder)
    if missing := SYSTEMS.keys() - {measurement.system for measurement in measurements}:
        print(f"{folder} has no results of {', '.join(sorted(missing))} yet; the page is not written")
        return
    titles = {key: system.title for key, system in SYSTEMS.items()}
    place = studies.Place(folder, folder) if arguments.small else studies.DOCS
    collapse_page.write(measurements, titles, place)


if __name__ == "__main__":
    main()
