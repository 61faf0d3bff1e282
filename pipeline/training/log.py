"""The log of a training run: log.csv, timing.csv, the terminal, and TensorBoard on request."""

from __future__ import annotations

import csv
import io
import math
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from pipeline.config.settings import Training
from pipeline.training.train_state import TrainState
from simsurrogate.documents import read_csv
from simsurrogate.errors import UserError
from simsurrogate.files import write_whole

COLUMNS = ("step", "learning_rate", "train_loss", "valid_error", "skipped_steps")
TIMING_COLUMNS = ("step", "seconds_per_step", "data_wait_share", "communication_share")


@dataclass(frozen=True)
class StepTimes:
    """The times (s) of the steps since the previous row of the log, in this attempt.

    Attributes:
        total: the time of the steps.
        data: the part in which the steps waited for data.
        communication: the part in which the gradients were averaged over the ranks, with the wait for other
            ranks; NaN where the communication overlaps the computation and is not measured.
    """

    total: float
    data: float
    communication: float


class Log:
    """The log files of a model, equal to the rows of the training state at any time.

    Rows after the checkpoint from which a run resumes are removed, so the log of an interrupted run ends up
    equal to the log of an undisturbed run. `timing.csv` holds the values that differ between runs: the mean
    time of a step since the previous row, and the fractions of the time in which steps waited for data and
    averaged gradients over the ranks. With `training.tensorboard`, all numbers are also written to
    FOLDER/tensorboard.

    Args:
        folder: folder of the model.
        options: settings of `training`.
        state: training state at the start of this attempt.

    Raises:
        UserError: tensorboard is requested but not installed.
    """

    def __init__(self, folder: Path, options: Training, state: TrainState):
        self.folder = folder
        self.options = options
        self.first_step, self.start_seconds = state.step, time.monotonic()
        self.timings = [row for row in _read_timings(folder / "timing.csv") if float(row[0]) <= state.step]
        self.last_step = state.step
        weighted_losses = state.surrogate.losses if state.loss_weights else ()
        self.columns = (*COLUMNS, *(f"weight_{name}" for name in weighted_losses))
        self.tensorboard_writer = None
        if options.tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise UserError(
                    "training.tensorboard=true needs tensorboard, which is not installed. Type `pip install "
                    "tensorboard`, or set training.tensorboard=false"
                ) from None
            self.tensorboard_writer = SummaryWriter(folder / "tensorboard", purge_step=state.step + 1)
        _write(folder / "log.csv", self.columns, state.rows)

    def add_row(self, rows: Sequence[Sequence[float]], times: StepTimes) -> None:
        """Write all rows of log.csv, and report the last row with its times."""
        _write(self.folder / "log.csv", self.columns, rows)
        step, _, loss, error, *_ = rows[-1]
        timing = [
            step,
            times.total / (step - self.last_step),
            times.data / times.total,
            times.communication / times.total,
        ]
        self.last_step = int(step)
        self.timings.append([_cell(value) for value in timing])
        _write(self.folder / "timing.csv", TIMING_COLUMNS, self.timings)
        step_seconds = (time.monotonic() - self.start_seconds) / (step - self.first_step)
        self.report(
            f"step {step:.0f}/{self.options.total_steps}: train loss {loss:.3e}, valid error {error:.3e}, "
            f"{self.options.batch_size / step_seconds:.0f} samples/s ({times.data / times.total:.1%} waiting "
            f"for data), {tqdm.format_interval((self.options.total_steps - step) * step_seconds)} left"
        )
        if self.tensorboard_writer is not None:
            named_values = [
                *zip(self.columns, rows[-1], strict=True),
                *zip(TIMING_COLUMNS, timing, strict=True),
            ]
            for name, value in named_values:
                if name != "step":
                    self.tensorboard_writer.add_scalar(name, value, int(step))
            self.tensorboard_writer.flush()

    def report(self, line: str) -> None:
        """Print a line, with the name of the model's folder, without breaking the progress bar."""
        tqdm.write(f"{self.folder.name}: {line}")
        sys.stdout.flush()


def _write(path: Path, columns: Sequence[str], rows: Sequence[Sequence[float | str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    write_whole(path, text.getvalue())


def _cell(value: float) -> str:
    """Return a number as the text of a cell, which is empty for NaN."""
    return "" if math.isnan(value) else str(value)


def _read_timings(path: Path) -> list[list[str]]:
    """Return the rows of timing.csv; none for a missing file, and none with a warning for a damaged file."""
    if not path.exists():
        return []
    try:
        columns = read_csv(path, "The times before this attempt are lost")
        if tuple(columns) != TIMING_COLUMNS:
            raise UserError(f"{path} has the columns {', '.join(columns)}. The times are lost")
    except UserError as error:
        warnings.warn(str(error), stacklevel=2)
        return []
    steps, *others = columns.values()
    return [[f"{step:.0f}", *map(_cell, row)] for step, *row in zip(steps, *others, strict=True)]
