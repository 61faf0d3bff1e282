"""What a training run tells while it runs: log.csv, the terminal, and TensorBoard on request."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from pipeline.data.files import write_whole

COLUMNS = ("step", "learning_rate", "train_loss", "valid_error")


class Log:
    """Keeps `FOLDER/log.csv` equal to the rows of the training state, whole at any time.

    Rows behind the checkpoint that a run goes on from vanish with it, so that the log of an interrupted
    run ends as that of an undisturbed one. With `tensorboard` the same numbers go to FOLDER/tensorboard.

    Raises:
        ValueError: tensorboard is asked for but not installed.
    """

    def __init__(self, folder: Path, tensorboard: bool, step: int):
        self.path = folder / "log.csv"
        self.board = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise ValueError(
                    "training.tensorboard=true, but tensorboard is not installed: pip install tensorboard"
                ) from None
            self.board = SummaryWriter(folder / "tensorboard", purge_step=step + 1)

    def show(self, rows: Sequence[Sequence[float]]) -> None:
        """Writes all rows, and tells of the last one."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
        write_whole(self.path, text.getvalue())
        step, rate, loss, error = rows[-1]
        tqdm.write(f"step {step:6.0f}  train loss {loss:.3e}  valid error {error:.3e}")
        if self.board is not None:
            for name, value in (("learning_rate", rate), ("train_loss", loss), ("valid_error", error)):
                self.board.add_scalar(name, value, int(step))
            self.board.flush()
