"""The worth of the best surrogate on each system, for docs/results.md.

Each system is one run of the chain. Complete stages are skipped, so the same command continues after an
interruption. Times are measured by the evaluate stage, on one thread.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from benchmarks.support.markdown import table
from benchmarks.support.spectra import draw_spectra
from pipeline.evaluation import schema
from pipeline.evaluation.model_table import row_of
from pipeline.evaluation.report.context import chosen_trajectories
from pipeline.evaluation.report.worth_section import worth_section
from pipeline.evaluation.words import percent
from pipeline.evaluation.worth_result import SpeedUp, WorthResult
from pipeline.evaluation.worth_words import count_text, duration, ratio_text
from pipeline.runs.folder import RunFolder
from simsurrogate.machine import processor_name

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "results.md"
IMAGES = DOCS / "images" / "results"
_PACKAGES = ("simsurrogate", "torch", "numpy")


@dataclass(frozen=True)
class System:
    """A row of the table: an experiment with one surrogate.

    Attributes:
        experiment: the name of the experiment and of the run folder.
        surrogate: the name of the surrogate.
        channel: the channel of the picture; empty for no picture.
        has_spectra: whether there is a picture of the energy spectra.
    """

    experiment: str
    surrogate: str
    channel: str = ""
    has_spectra: bool = False

    @property
    def command(self) -> list[str]:
        """The command that runs the chain."""
        arguments = (f"experiment={self.experiment}", f"surrogate={self.surrogate}")
        return ["python", "-m", "pipeline.chain", *arguments]

    @property
    def folder(self) -> RunFolder:
        """The run folder with the model."""
        return RunFolder.at(Path("runs") / self.experiment).with_model(self.surrogate)


SYSTEMS = (
    System("chip", "pod", channel="temperature"),
    System("chip", "scalars"),
    System("shear_layers", "pod", channel="vorticity"),
    System("composite", "unet", channel="temperature"),
    System("three_body", "mlp", channel="bodies"),
    System("turbulence", "fno", channel="vorticity", has_spectra=True),
    System("kolmogorov", "fno", channel="vorticity", has_spectra=True),
    System("heat_fno", "fno", channel="temperature"),
    System("navier_stokes", "fno", channel="vorticity"),
)

_HEAD = """\
# Worth of the surrogates

`python -m benchmarks.worth_of_systems` runs the chain of each system on this page, and writes the page:

{commands}

**speed-up** is the time of the cheapest setting of the solver that is as accurate as the surrogate, divided
by the time of the surrogate: the median over held-out trajectories, and its range. Below 1 the solver is
faster. [Evaluation](evaluation.md#worth) explains the measurement. All times are those of one thread; one
query returns all frames of a trajectory, or for `three_body` the state at the end. **error** is the relative
L2 error of the last frame against the reference solution.
Other work may share the machine: compare ratios rather than times.

{table}
{machine}; {versions}.
"""


def main() -> None:
    """Run the chains and write the page, also after failed chains."""
    for system in SYSTEMS:
        variables = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, *system.command[1:]], env=variables, check=False)
    IMAGES.mkdir(exist_ok=True, parents=True)
    PAGE.write_text(page())


def page() -> str:
    """Return the text of docs/results.md."""
    versions = ", ".join(f"{package} {version(package)}" for package in _PACKAGES)
    head = _HEAD.format(
        commands="\n".join(f"    {shlex.join(system.command)}" for system in SYSTEMS),
        table=table(_COLUMNS, [_cells(system) for system in SYSTEMS]),
        machine=f"{processor_name()}, {platform.platform()}",
        versions=versions,
    )
    return "\n".join([head, *(_section(system) for system in SYSTEMS)])


_COLUMNS = (
    "system",
    "surrogate",
    "error",
    "one query",
    "solver",
    "speed-up",
    "best batch",
    "speed-up in batches",
    "repaid after",
)


def _cells(system: System) -> tuple[str, ...]:
    worth = _worth(system)
    if worth is None:
        return (system.experiment, system.surrogate, *("not measured" for _ in _COLUMNS[2:]))
    times, cost = worth.surrogate, worth.break_even
    return (
        system.experiment,
        system.surrogate,
        percent(times.error),
        duration(times.query_seconds),
        duration(worth.solver_seconds),
        _range(worth.speed_up),
        f"{duration(times.batch_seconds)} ({times.batch_size})",
        _range(worth.batch_speed_up),
        "never" if cost.queries is None else f"{count_text(cost.queries)} queries",
    )


def _range(speed_up: SpeedUp) -> str:
    median, low, high = (ratio_text(value) for value in (speed_up.median, speed_up.min, speed_up.max))
    return f"**{median}** ({low} to {high})"


def _section(system: System) -> str:
    """Return what the experiment is, its verdict, the solver's settings and a picture."""
    title = f"## {system.experiment.replace('_', ' ')}, `{system.surrogate}`\n"
    worth = _worth(system)
    if worth is None:
        remark = row_of(system.folder.path, system.surrogate).remark
        return f"{title}\n{remark or 'not measured'}.\n"
    section = worth_section(worth, system.surrogate, system.folder)
    rows = [(name, error, query) for name, error, query, _ in section.rows]
    return "\n".join(
        [
            title,
            f"{_description(system.experiment)} Repeat the measurement: `{section.command}`\n",
            f"{section.verdict}\n",
            table(("", "error", "time"), rows),
            *_picture(system),
        ]
    )


def _description(experiment: str) -> str:
    """Return the comment at the top of the experiment's YAML."""
    lines = (files("configs") / "experiment" / f"{experiment}.yaml").read_text(encoding="utf-8").splitlines()
    comment = [line.lstrip("# ") for line in lines[1:] if line.startswith("#")]
    return " ".join(comment)


def _picture(system: System) -> list[str]:
    """Copy the figure of the median trajectory, and return the line that shows it."""
    if not system.channel:
        return []
    evaluation = system.folder.evaluation
    metrics = schema.read(evaluation / "metrics.json")
    index, _ = chosen_trajectories(metrics.splits["test"], 1)[0]
    name = f"{system.experiment}.png"
    shutil.copyfile(evaluation / "figures" / f"test-{index:05d}-{system.channel}.png", IMAGES / name)
    lines = [f"![truth, prediction and difference: {system.experiment}](images/results/{name})\n"]
    if system.has_spectra:
        name = f"{system.experiment}-spectra.png"
        draw_spectra(system.folder.path, system.folder.model_folder, IMAGES / name)
        lines.append(
            f"![energy spectra of truth and prediction: {system.experiment}](images/results/{name})\n"
        )
    return lines


def _worth(system: System) -> WorthResult | None:
    path = system.folder.evaluation / "metrics.json"
    return schema.read(path).worth if path.exists() else None


if __name__ == "__main__":
    main()
