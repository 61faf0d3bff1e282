"""The table of trained models: weights, training time, and errors on held-out trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import overrides
from pipeline.config.sweep import Job
from pipeline.evaluation.words import percent
from pipeline.runs import provenance
from pipeline.runs.folder import RunFolder
from simsurrogate.errors import UserError
from simsurrogate.files import digest

COLUMNS = (
    "run",
    "model",
    "weights",
    "training",
    "core-seconds",
    "one step",
    "rollout",
    "persistence",
    "remark",
)


@dataclass(frozen=True)
class Row:
    """The row of one model in the table.

    Attributes:
        run: the name of the run folder.
        model: the name of the model.
        num_parameters: the number of weights.
        seconds: the wall time of the training.
        ranks: the ranks of the training.
        core_seconds: the processor time of all ranks.
        one_step: the relative L2 error of one step, median over the test trajectories.
        rollout_end: the relative L2 error at the end of the rollout, median over the test trajectories.
        persistence: the error of the initial state at the end of the rollout, median over the trajectories.
        has_vanished_fields: whether errors at the end of the rollout are not meaningful.
        remark: the reason why there is no model or no error.
    """

    run: str
    model: str
    num_parameters: int | None = None
    seconds: float | None = None
    ranks: int | None = None
    core_seconds: float | None = None
    one_step: float | None = None
    rollout_end: float | None = None
    persistence: float | None = None
    has_vanished_fields: bool = False
    remark: str = ""

    def cells(self) -> list[str]:
        """Return a text for each of `COLUMNS`."""
        is_evaluated = self.one_step is not None or self.rollout_end is not None
        errors = (
            percent(self.one_step),
            *(
                "not meaningful" if self.has_vanished_fields and error is not None else percent(error)
                for error in (self.rollout_end, self.persistence)
            ),
        )
        ranks = f" on {self.ranks} ranks" if self.ranks and self.ranks > 1 else ""
        return [
            self.run,
            self.model,
            "" if self.num_parameters is None else f"{self.num_parameters:,}",
            "" if self.seconds is None else f"{self.seconds:.0f} s{ranks}",
            "" if self.core_seconds is None else f"{self.core_seconds:.0f}",
            *(error if is_evaluated else "" for error in errors),
            self.remark,
        ]


def row_of(run: Path, model: str, failure: str = "") -> Row:
    """Return the row of `run/models/model`; the remark is `failure` or the reason for a missing model."""
    # Imported late: stages import this module before they read the command line, and torch takes seconds.
    from pipeline.evaluation import schema
    from surrogates import store

    folder = RunFolder.at(run).with_model(model)
    training_attempts = provenance.attempts(run, "train", model)
    try:
        description = store.description(folder.model_folder)
    except UserError:
        reasons = [attempt.reason.partition(": ")[2] for attempt in training_attempts if attempt.reason]
        return Row(run.name, model, remark=_first_line((reasons or [failure or "not trained"])[-1]))
    last_training = provenance.last_complete_attempt(training_attempts)
    result = None
    with suppress(UserError):
        metrics = schema.read(folder.evaluation / "metrics.json")
        if metrics.model != digest(description):
            failure = failure or "trained again since it was evaluated"
        elif "test" in metrics.splits:
            result = metrics.splits["test"]
    headline = result.headline if result else None
    return Row(
        run.name,
        model,
        num_parameters=description["num_parameters"],
        seconds=provenance.seconds(training_attempts) if last_training else None,
        ranks=last_training.ranks if last_training else None,
        core_seconds=provenance.core_seconds(training_attempts) if last_training else None,
        one_step=headline["surrogate"].one_step.median if headline else None,
        rollout_end=headline["surrogate"].rollout_end.median if headline else None,
        persistence=headline["persistence"].rollout_end.median if headline else None,
        has_vanished_fields=bool(result and result.vanished_fields),
        remark=_first_line(failure) or ("" if headline else "not evaluated"),
    )


def rows_of(run: Path) -> list[Row]:
    """Return the rows of all models of a run, including models whose training failed.

    Raises:
        UserError: the folder holds no run, or a run without a model.
    """
    attempted_models = {attempt.model for attempt in provenance.attempts(run, "train")}
    models = sorted(
        attempted_models | {path.name for path in RunFolder.at(run).models.glob("*") if path.is_dir()}
    )
    if not models:
        raise UserError(
            f"{run} has no models. A run has models after its train stage. Name another run folder, or type "
            f"python -m pipeline.train {overrides.typed('run', run)}"
        )
    return [row_of(run, model) for model in models]


def show(rows: Sequence[Row]) -> None:
    """Print the table, and below the table the remarks on missing models and errors."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table_rows = [row for row in rows if row.num_parameters is not None]
    if table_rows:
        table = Table(title="Relative L2 errors on the test split, median over the trajectories", box=SIMPLE)
        for name in COLUMNS[:-1]:
            is_number = name not in ("run", "model")
            table.add_column(name, justify="right" if is_number else "left", no_wrap=True)
        for row in table_rows:
            table.add_row(*row.cells()[:-1])
        # The width fits every name.
        Console(highlight=False, width=200).print(table)
    for row in rows:
        if row.remark:
            print(f"{'/'.join(filter(None, (row.run, row.model)))}: {row.remark}", flush=True)


def show_sweep(jobs: Sequence[Job]) -> None:
    """Print the table of a sweep's models. Runs that are only printed or submitted to Slurm have no row."""
    rows = []
    for job in jobs:
        settings = job.settings
        if settings is None:
            rows.append(Row("", " ".join(job.overrides), remark=_first_line(job.failure)))
        elif job.failure or not (settings.dry_run or settings.launcher.name == "slurm"):
            rows.append(row_of(settings.run, settings.model, job.failure))
    if rows:
        show(rows)


def _first_line(text: str) -> str:
    return text.strip().split("\n")[0]
