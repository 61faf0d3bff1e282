"""The sweep of every surrogate on every system that the surrogate can learn, for docs/every_surrogate.md.

Each stage runs the complete sweep in one process, because a hundred starts of a process would take too long.
Complete runs are skipped. The same command therefore continues after an interruption, and trains only new
models after the addition of a surrogate.
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

from benchmarks.support.markdown import table
from pipeline.config.build import build_recorded_solver
from pipeline.data.dataset import Dataset
from pipeline.evaluation import model_table
from pipeline.problem import problem_of, with_physics
from simsurrogate.machine import processor_name
from surrogates.contract import compatible_surrogates, surrogate_class, surrogate_names

PAGE = Path(__file__).parents[1] / "docs" / "every_surrogate.md"
RUNS = Path("runs") / "results"
SYSTEMS = ("heat", "navier_stokes", "two_body", "three_body", "heat_parametric", "taylor_green", "kepler")
_PACKAGES = ("simsurrogate", "torch", "numpy", "deepxde")

_HEAD = """\
# Every surrogate on every compatible system

`python -m benchmarks.surrogates_on_systems` runs one sweep for each stage, and writes this page:

{commands}

`python -m pipeline.chain -m` with the arguments of the last line runs one chain for each combination.

The experiments are in `configs/experiment/results/`: small data sets, and trainings of at most three minutes
on a free core. The tables show that each combination works, not the smallest possible error. The number of
training steps differs between surrogates, see the YAML of the experiment.

- **one step**, **rollout**: relative L2 error on the test split, as defined in [evaluation](evaluation.md).
  One step starts from the true previous frame. The rollout ends at the last frame. The error is the median
  over the trajectories.
- **persistence**: the error of the initial state at the end of the rollout.
- **training**: wall time of the stage on one rank, with start and validation. Other work on the machine
  lengthened this time. **core-seconds**: processor time of the stage.

{machine}; {versions}.
"""


def main() -> None:
    """Run the sweep and write the page, also after failed runs."""
    for command in commands():
        subprocess.run([sys.executable, *command[1:]], env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
    PAGE.write_text(page())


def commands() -> list[list[str]]:
    """Return the command line of each stage."""
    experiments = f"experiment={','.join(f'results/{system}' for system in SYSTEMS)}"
    surrogates = f"surrogate={','.join(surrogate_names())}"
    return [
        ["python", "-m", f"pipeline.{stage}", "-m", experiments, *overrides]
        for stage, overrides in (
            ("generate", ()),
            ("validate", ()),
            ("train", (surrogates,)),
            ("evaluate", (surrogates,)),
        )
    ]


def page() -> str:
    """Return the text of docs/every_surrogate.md."""
    versions = ", ".join(f"{package} {version(package)}" for package in _PACKAGES)
    lines = "\n".join(f"    {shlex.join(command)}" for command in commands())
    head = _HEAD.format(
        commands=lines, machine=f"{processor_name()}, {platform.platform()}", versions=versions
    )
    return "\n".join([head, *(_section(system) for system in SYSTEMS)])


def _section(system: str) -> str:
    experiment = files("configs") / "experiment" / "results" / f"{system}.yaml"
    lines = experiment.read_text(encoding="utf-8").splitlines()
    title = next(line.lstrip("# ") for line in lines if line.startswith("#") and "@package" not in line)
    dataset = Dataset.open(RUNS / system / "dataset")
    solver = build_recorded_solver(dataset.configuration, {}, MPI.COMM_SELF)
    problem = with_physics(problem_of(dataset), solver)
    columns = model_table.COLUMNS[1:]
    rows = [model_table.row_of(RUNS / system, name).cells()[1:] for name in compatible_surrogates(problem)]
    refusals = "".join(
        f"- not `{name}`: {surrogate_class(name).incompatibility(problem)}\n"
        for name in surrogate_names()
        if name not in compatible_surrogates(problem)
    )
    return f"## {system.replace('_', ' ')}\n\n{title}\n\n{table(columns, rows)}\n{refusals}"


if __name__ == "__main__":
    main()
