"""What a training run tells while it runs: log.csv, the terminal, and TensorBoard on request."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from pipeline.config.settings import Training
from pipeline.training.train_state import State
from simsurrogate.errors import UserError
from simsurrogate.files import write_whole

COLUMNS = ("step", "learning_rate", "train_loss", "valid_error", "skipped_steps")
TIMING_COLUMNS = ("step", "seconds_per_step", "data_wait_share")


class Log:
    """Keeps `FOLDER/log.csv` equal to the rows of the training state, whole at any time.

    Rows behind the checkpoint that a run goes on from vanish with it, so that the log of an interrupted
    run ends as that of an undisturbed one. `FOLDER/timing.csv` holds what differs from run to run: the mean
    time of a step since the row before, and the share of it that was waiting for data. With
    `training.tensorboard` all these numbers go to FOLDER/tensorboard. `state` is where this attempt begins.

    Raises:
        UserError: tensorboard is asked for but not installed.
    """

    def __init__(self, folder: Path, options: Training, state: State):
        self.folder = folder
        self.options = options
        self.first_step, self.begun = state.step, time.monotonic()
        self.timings = [row for row in _rows(folder / "timing.csv") if int(row[0]) <= state.step]
        self.last_step = state.step
        weighed = state.surrogate.losses if state.loss_weights else ()
        self.columns = (*COLUMNS, *(f"weight_{name}" for name in weighed))
        self.board = None
        if options.tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise UserError(
                    "training.tensorboard=true, but tensorboard is not installed: pip install tensorboard"
                ) from None
            self.board = SummaryWriter(folder / "tensorboard", purge_step=state.step + 1)
        _write(folder / "log.csv", self.columns, state.rows)

    def show(self, rows: Sequence[Sequence[float]], spent: float, waited: float) -> None:
        """Writes all rows, and tells of the last one.

        `spent` is the time (s) that the steps since the row before took in this attempt, and `waited` that
        of it in which they waited for data.
        """
        _write(self.folder / "log.csv", self.columns, rows)
        step, _, loss, error, *_ = rows[-1]
        timing = [step, spent / (step - self.last_step), waited / spent]
        self.last_step = int(step)
        self.timings.append([str(value) for value in timing])
        _write(self.folder / "timing.csv", TIMING_COLUMNS, self.timings)
        seconds = (time.monotonic() - self.begun) / (step - self.first_step)
        self.tell(
            f"step {step:.0f}/{self.options.total_steps}: train loss {loss:.3e}, valid error {error:.3e}, "
            f"{self.options.batch_size / seconds:.0f} samples/s ({waited / spent:.1%} waiting for data), "
            f"{tqdm.format_interval((self.options.total_steps - step) * seconds)} left"
        )
        if self.board is not None:
            named = [*zip(self.columns, rows[-1], strict=True), *zip(TIMING_COLUMNS, timing, strict=True)]
            for name, value in named:
                if name != "step":
                    self.board.add_scalar(name, value, int(step))
            self.board.flush()

    def tell(self, line: str) -> None:
        """Prints a line beside the progress bar, behind the name of the model's folder."""
        tqdm.write(f"{self.folder.name}: {line}")
        sys.stdout.flush()


def _write(path: Path, columns: Sequence[str], rows: Sequence[Sequence[float | str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    write_whole(path, text.getvalue())


def _rows(path: Path) -> list[list[str]]:
    """The rows of a CSV file below its header; none where there is no such file."""
    return list(csv.reader(path.read_text(encoding="utf-8").splitlines()))[1:] if path.is_file() else []
