"""A table and a page of trained models: weights, times, verdicts, and errors on held-out trajectories.

    python -m pipeline.compare runs/heat runs/flow      # all models in these run folders

The page is `comparison/comparison.html` in the first run folder, next to models.csv and models.json.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline import cli
from pipeline.evaluation.model_table import show
from pipeline.runs.folder import RunFolder
from simsurrogate.errors import UserError
from simsurrogate.files import is_read_only


def main(run_folders: list[str]) -> None:
    """Print the table of all models in the given folders, and write the page into the first folder.

    A folder that this process may not write stays unchanged, with a note.

    Raises:
        UserError: no folder is named, or a folder holds no models.
    """
    if not all(folder.strip() for folder in run_folders or [""]):
        raise UserError(
            "no run folder is named. compare reads the models in run folders. Type "
            "python -m pipeline.compare runs/heat runs/flow"
        )
    # Imported late, because torch and matplotlib take seconds.
    from pipeline.evaluation.comparison import page
    from pipeline.evaluation.comparison.models import compared_models

    models = compared_models([Path(folder) for folder in run_folders])
    show([model.row for model in models])
    output = RunFolder.at(Path(run_folders[0])).comparison
    if is_read_only(output.parent):
        print(
            f"note: {output.parent} is not writable, so the comparison is not stored. The first run folder "
            "has to be writable. Name a run folder of your own first",
            file=sys.stderr,
            flush=True,
        )
        return
    path = page.write(output, models)
    print(f"compare: wrote {path}. Next: open it in a browser", flush=True)


if __name__ == "__main__":
    cli.exit_on_error(lambda: main(sys.argv[1:]))
