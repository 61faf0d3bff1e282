"""A callback of Hydra that records the objective of each run of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback


class Objectives(Callback):
    """Append the result of each run to a file, as a sweeper receives it."""

    def __init__(self, path: str):
        self.path = Path(path)

    def on_job_end(self, config: Any, job_return: JobReturn, **_: Any) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{job_return.return_value}\n")
