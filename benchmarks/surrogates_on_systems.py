"""Every surrogate on every system that it can learn: one sweep, which docs/results.md reports.

Each stage runs the whole sweep in one process, which starts once instead of a hundred times. Complete runs
are skipped: the same command continues after an interruption, and trains only the new models after a
surrogate was added.
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
# Every surrogate on every system that it can learn

`python -m benchmarks.surrogates_on_systems` runs one sweep, stage after stage, and writes this page:

{commands}

`python -m pipeline.chain -m` with the arguments of the last line runs one chain for each combination.

The experiments are in `configs/experiment/results/`: small data sets, and trainings of at most three minutes
on a free core. The table shows that each combination works, not the smallest error that can be reached.
Some surrogates train for more steps than others: see the experiment's YAML.

- **one step**, **rollout**: relative L2 error on the test split, as defined in [evaluation](evaluation.md).
  One step starts from the true frame before; the rollout ends at the last frame. Median over the
  trajectories.
- **persistence**: the error of the initial state at the end of the rollout.
- **training**: wall time of the stage on one rank, with start and validation. Other work shared the machine
  and lengthened this time. **core-seconds**: processor time of the stage.

{machine}; {versions}.
"""


def main() -> None:
    """Run the sweep and write the page, even if some runs failed."""
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
    """Return the text of docs/results.md."""
    versions = ", ".join(f"{package} {version(package)}" for package in _PACKAGES)
    lines = "\n".join(f"    {shlex.join(command)}" for command in commands())
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
    table += [model_table.row_of(RUNS / system, name).cells()[1:] for name in compatible_surrogates(problem)]
    rows = "".join(f"| {' | '.join(row)} |\n" for row in table)
    refusals = "".join(
        f"- not `{name}`: {surrogate_class(name).incompatibility(problem)}\n"
        for name in surrogate_names()
        if name not in compatible_surrogates(problem)
    )
    return f"## {system.replace('_', ' ')}\n\n{title}\n\n{rows}\n{refusals}"


if __name__ == "__main__":
    main()
