"""What a training run tells while it runs: log.csv, the terminal, and TensorBoard on request."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from pipeline.data.files import write_whole
from pipeline.settings import Training
from pipeline.training.state import State

COLUMNS = ("step", "learning_rate", "train_loss", "valid_error")


class Log:
    """Keeps `FOLDER/log.csv` equal to the rows of the training state, whole at any time.

    Rows behind the checkpoint that a run goes on from vanish with it, so that the log of an interrupted
    run ends as that of an undisturbed one. With `training.tensorboard` the same numbers go to
    FOLDER/tensorboard. `state` is where this attempt begins.

    Raises:
        ValueError: tensorboard is asked for but not installed.
    """

    def __init__(self, folder: Path, options: Training, state: State):
        self.path = folder / "log.csv"
        self.options = options
        self.first_step, self.begun = state.step, time.monotonic()
        self.board = None
        if options.tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise ValueError(
                    "training.tensorboard=true, but tensorboard is not installed: pip install tensorboard"
                ) from None
            self.board = SummaryWriter(folder / "tensorboard", purge_step=state.step + 1)
        self._write(state.rows)

    def show(self, rows: Sequence[Sequence[float]]) -> None:
        """Writes all rows, and tells of the last one."""
        self._write(rows)
        step, rate, loss, error = rows[-1]
        seconds = (time.monotonic() - self.begun) / (step - self.first_step)
        tqdm.write(
            f"step {step:.0f}/{self.options.steps}: train loss {loss:.3e}, valid error {error:.3e}, "
            f"{self.options.batch_size / seconds:.0f} samples/s, "
            f"{tqdm.format_interval((self.options.steps - step) * seconds)} left"
        )
        sys.stdout.flush()
        if self.board is not None:
            for name, value in (("learning_rate", rate), ("train_loss", loss), ("valid_error", error)):
                self.board.add_scalar(name, value, int(step))
            self.board.flush()

    def _write(self, rows: Sequence[Sequence[float]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
        write_whole(self.path, text.getvalue())
