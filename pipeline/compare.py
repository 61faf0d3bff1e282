"""A table of trained models: weights, training time, errors on held-out trajectories.

python -m pipeline.compare runs/heat runs/flow      # all models in these run folders
"""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline import cli
from pipeline.evaluation.model_table import rows_of, show
from simsurrogate.errors import UserError


def main(run_folders: list[str]) -> None:
    """Print the table of all models in the given folders.

    Raises:
        UserError: no folder is named, or a folder holds no models.
    """
    if not all(folder.strip() for folder in run_folders or [""]):
        raise UserError(
            "no run folder is named. compare reads the models in run folders. Type "
            "python -m pipeline.compare runs/heat runs/flow"
        )
    show([row for folder in run_folders for row in rows_of(Path(folder))])


if __name__ == "__main__":
    cli.exit_on_error(lambda: main(sys.argv[1:]))
