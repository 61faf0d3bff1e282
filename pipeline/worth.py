"""The worth of a trained model, measured again on this machine: time and error next to those of its solver.

python -m pipeline.worth run=runs/heat surrogate=fno evaluation.worth=8     # writes nothing
"""

from __future__ import annotations

import math

import torch
from rich.console import Console
from rich.table import Table

from pipeline import cli
from pipeline.config import agreement
from pipeline.config.settings import Settings
from pipeline.data.dataset import Dataset
from pipeline.evaluation import trained_model
from pipeline.evaluation.model_worth import worth_of_model
from pipeline.evaluation.report.worth_section import worth_section
from pipeline.parallel import launch
from pipeline.runs.folder import RunFolder
from simsurrogate.errors import UserError


def run(settings: Settings) -> float:
    """Print the table and the verdict; return the surrogate's time divided by the solver's at equal error.

    Raises:
        UserError: there is no model or no validated data set with test trajectories, or several ranks.
    """
    if launch.rank_and_size()[1] > 1:
        raise UserError("worth runs on 1 rank, because it measures times. Type the command without mpirun")
    folder = RunFolder.of(settings)
    dataset = Dataset.open(folder.dataset, folder.validations[1], allow_failed=settings.allow_failed)
    agreement.refuse_other_data(settings, folder.dataset, dataset.configuration, compares_seed=False)
    surrogate, dataset = trained_model.load(settings, folder, torch.device("cpu"), dataset)
    worth = worth_of_model(settings, folder, surrogate, dataset)
    if isinstance(worth, str):
        raise UserError(worth)
    section = worth_section(worth, settings.surrogate["name"], folder)
    table = Table(
        title=f"One thread of {worth.processor}, medians over {len(worth.trajectories)} trajectories"
    )
    for column in ("", "error of the last frame", "time of a query", "time in a batch"):
        table.add_column(column, justify="right" if column else "left")
    for row in section.rows:
        table.add_row(*row)
    console = Console(highlight=False)
    console.print(table)
    console.print(section.verdict, soft_wrap=True)
    return 1 / worth.speed_up.median if worth.speed_up.median > 0 else math.inf


if __name__ == "__main__":
    cli.main(run)
