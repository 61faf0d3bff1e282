"""Sets trained models side by side: weights, training time, errors on held-out trajectories.

python -m pipeline.compare runs/heat runs/flow      # all models in these run folders
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from pipeline import cli
from pipeline.config.sweep import Job
from pipeline.runs import provenance
from simsurrogate.errors import UserError
from simsurrogate.files import digest

COLUMNS = (
    "run",
    "model",
    "weights",
    "training",
    "core-seconds",
    "one step",
    "roll-out",
    "persistence",
    "remark",
)


@dataclass(frozen=True)
class Row:
    """One model: its number of weights; the wall time of its training on so many ranks, and that of their
    processors; the median over the test trajectories of its relative L2 errors, beside that of the initial
    state at the end.
    """

    run: str
    model: str
    num_parameters: int | None = None
    seconds: float | None = None
    ranks: int | None = None
    core_seconds: float | None = None
    one_step: float | None = None
    roll_out_end: float | None = None
    persistence: float | None = None
    remark: str = ""

    def words(self) -> list[str]:
        """A text for each of `COLUMNS`."""
        # Late: the stages import this module before they read their command line.
        from pipeline.evaluation.results import percent

        judged = self.one_step is not None or self.roll_out_end is not None
        errors = (self.one_step, self.roll_out_end, self.persistence)
        ranks = f" on {self.ranks} ranks" if self.ranks and self.ranks > 1 else ""
        return [
            self.run,
            self.model,
            "" if self.num_parameters is None else f"{self.num_parameters:,}",
            "" if self.seconds is None else f"{self.seconds:.0f} s{ranks}",
            "" if self.core_seconds is None else f"{self.core_seconds:.0f}",
            *(percent(error) if judged else "" for error in errors),
            self.remark,
        ]


def row_of(run: Path, model: str, failure: str = "") -> Row:
    """What is known of the model `run/models/model`; where there is none, why, or `failure`."""
    folder = run / "models" / model
    described, judged = _read(folder / "model.json"), _read(folder / "evaluation" / "metrics.json")
    trainings = provenance.records(run, "train", model)
    if not described:
        reasons = [one["reason"].partition(": ")[2] for one in trainings if "reason" in one]
        return Row(run.name, model, remark=_first_line((reasons or [failure or "not trained"])[-1]))
    last = provenance.last_working(trainings)
    # Older evaluations do not tell of which model they are.
    if judged.get("model", digest(described)) != digest(described):
        judged, failure = {}, failure or "trained again since it was evaluated"
    headline = judged.get("splits", {}).get("test", {}).get("headline", {})
    ours, still = headline.get("surrogate", {}), headline.get("persistence", {})
    return Row(
        run.name,
        model,
        num_parameters=described["num_parameters"],
        seconds=provenance.seconds(trainings) if last else None,
        ranks=last["ranks"] if last else None,
        core_seconds=provenance.core_seconds(trainings) if last else None,
        one_step=ours.get("one_step", {}).get("median"),
        roll_out_end=ours.get("roll_out_end", {}).get("median"),
        persistence=still.get("roll_out_end", {}).get("median"),
        remark=_first_line(failure) or ("" if headline else "not evaluated"),
    )


def rows_of(run: Path) -> list[Row]:
    """All models of a run, those too whose training failed.

    Raises:
        UserError: the folder is that of no run, or of one without a model.
    """
    tried = {provenance.model_of(one) for one in provenance.records(run, "train")}
    models = sorted(tried | {path.name for path in (run / "models").glob("*") if path.is_dir()})
    if not models:
        raise UserError(f"{run} has no models: name a run folder in which something was trained")
    return [row_of(run, model) for model in models]


def show(rows: Sequence[Row]) -> None:
    """Prints a table, and below it the remarks: why there is no model, or no error."""
    trained = [row for row in rows if row.num_parameters is not None]
    if trained:
        table = Table(title="Relative L2 errors on the test split, median over the trajectories", box=SIMPLE)
        for name in COLUMNS[:-1]:
            right = name not in ("run", "model")
            table.add_column(name, justify="right" if right else "left", no_wrap=True)
        for row in trained:
            table.add_row(*row.words()[:-1])
        # As wide as its words: no name is cut.
        Console(highlight=False, width=200).print(table)
    for row in rows:
        if row.remark:
            print(f"{'/'.join(filter(None, (row.run, row.model)))}: {row.remark}", flush=True)


def after_sweep(jobs: Sequence[Job]) -> None:
    """The table of a sweep's models; of one that is but printed or handed to Slurm there is none."""
    rows = []
    for job in jobs:
        settings = job.settings
        if settings is None:
            rows.append(Row("", " ".join(job.words), remark=_first_line(job.failure)))
        elif job.failure or not (settings.dry_run or settings.launcher.name == "slurm"):
            rows.append(row_of(settings.run, settings.model, job.failure))
    if rows:
        show(rows)


def _first_line(text: str) -> str:
    return text.strip().split("\n")[0]


def _read(path: Path) -> dict[str, Any]:
    """A JSON file's content; nothing where there is none."""
    with suppress(OSError, ValueError):
        return dict(json.loads(path.read_text(encoding="utf-8")))
    return {}


def main(words: list[str]) -> None:
    """Prints the table of the run folders that are named."""
    if not words:
        raise UserError("name the run folders: python -m pipeline.compare runs/heat runs/flow")
    show([row for word in words for row in rows_of(Path(word))])


if __name__ == "__main__":
    cli.exit_on_error(lambda: main(sys.argv[1:]))
