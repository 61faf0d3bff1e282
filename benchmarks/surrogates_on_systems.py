"""Each surrogate on each system that it fits: a sweep, from which docs/results.md is made.

Each stage goes through the sweep in one process, which saves the start of a hundred. What is complete is
skipped, so that the same command goes on after an interruption, and trains only what is new where a surrogate
was added.
"""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from mpi4py import MPI

from benchmarks.support.measuring import processor
from pipeline.config.build import build_recorded_solver
from pipeline.data.dataset import Dataset
from pipeline.evaluation import model_table
from pipeline.problem import problem_of, with_physics
from surrogates.contract import compatible_surrogates, surrogate_class, surrogate_names

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
RUNS = Path("runs") / "results"
SYSTEMS = ("heat", "navier_stokes", "two_body", "three_body", "heat_parametric", "taylor_green", "kepler")
_PACKAGES = ("simsurrogate", "torch", "numpy", "deepxde")

_HEAD = """\
# Each surrogate on each system that it fits

One sweep, stage after stage; `python -m benchmarks.surrogates_on_systems` does it, and makes this page:

{commands}

`python -m pipeline.chain -m` with the words of the last line does the same, one chain for each combination.

The experiments are in `configs/experiment/results/`: small data sets, trainings of at most three minutes on a
free core. They show that each combination works, and what little money buys, not the best that a surrogate
can do. Where surrogates get different numbers of steps, their experiment says so.

- **one step**, **roll-out**: relative L2 error on the test split, as [evaluate](evaluation.md) measures it:
  each frame from the true one before it, and the last frame from the first; median over the trajectories.
- **persistence**: the error of the initial state at the end of the roll-out.
- **training**: wall time of the stage on one rank, start and validation included; other work shared the
  machine and stretched it. **core-seconds**: the processor's time of it.

{machine}; {versions}.
"""


def main() -> None:
    """Runs the sweep, and writes the page whatever failed."""
    for words in commands():
        subprocess.run([sys.executable, *words[1:]], env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
    PAGE.write_text(page())


def commands() -> list[list[str]]:
    """The command line of each stage."""
    experiments = f"experiment={','.join(f'results/{system}' for system in SYSTEMS)}"
    surrogates = f"surrogate={','.join(surrogate_names())}"
    return [
        ["python", "-m", f"pipeline.{stage}", "-m", experiments, *words]
        for stage, words in (
            ("generate", ()),
            ("validate", ()),
            ("train", (surrogates,)),
            ("evaluate", (surrogates,)),
        )
    ]


def page() -> str:
    """The text of docs/results.md."""
    versions = ", ".join(f"{package} {version(package)}" for package in _PACKAGES)
    lines = "\n".join(f"    {shlex.join(words)}" for words in commands())
    head = _HEAD.format(commands=lines, machine=f"{processor()}, {platform.platform()}", versions=versions)
    return "\n".join([head, *(_section(system) for system in SYSTEMS)])


def _section(system: str) -> str:
    experiment = files("configs") / "experiment" / "results" / f"{system}.yaml"
    lines = experiment.read_text(encoding="utf-8").splitlines()
    title = next(line.lstrip("# ") for line in lines if line.startswith("#") and "@package" not in line)
    dataset = Dataset.open(RUNS / system / "dataset")
    solver = build_recorded_solver(dataset.configuration, {}, MPI.COMM_SELF)
    problem = with_physics(problem_of(dataset), solver)
    columns = model_table.COLUMNS[1:]
    table = [columns, ["---"] * len(columns)]
    table += [model_table.row_of(RUNS / system, name).words()[1:] for name in compatible_surrogates(problem)]
    rows = "".join(f"| {' | '.join(row)} |\n" for row in table)
    refusals = "".join(
        f"- not `{name}`: {surrogate_class(name).incompatibility(problem)}\n"
        for name in surrogate_names()
        if name not in compatible_surrogates(problem)
    )
    return f"## {system.replace('_', ' ')}\n\n{title}\n\n{rows}\n{refusals}"


if __name__ == "__main__":
    main()
