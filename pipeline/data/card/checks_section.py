"""The section of the data card on the checks of `validate`, with its figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.data.card.sections import write_section
from pipeline.data.checks.trajectories.measured import Measure, measures_of
from pipeline.data.checks.trajectories.near_rows import MIN_TRAJECTORIES
from pipeline.data.checks.trajectories.row_table import RowTable
from pipeline.data.manifest import Manifest
from pipeline.data.plan import SPLITS
from pipeline.data.validation import CheckRecord, Validation
from simsurrogate.files import writable_folder

#: The measures in the figures, with their words: they show other units and other times.
_SHOWN = {"mean": "mean", "size": "root mean square", "change": "change per frame"}
#: The largest number of failed results and warnings in the table.
_MAX_FINDINGS = 20


def write(folder: Path, manifest: Manifest, validation: Validation, table: RowTable | None) -> None:
    """Write the section into `README.md` of a data set, in place of an earlier one, and draw its figures.

    Without a README.md nothing is written. A table of fewer than `MIN_TRAJECTORIES` trajectories shows no
    distribution, and has no figures.
    """
    path = folder / "README.md"
    if not path.is_file():
        return
    has_figures = table is not None and len(table.index) >= MIN_TRAJECTORIES
    figures = _draw(folder, manifest, table) if table is not None and has_figures else []
    write_section(
        path, "Checks", _section(validation, [str(figure.relative_to(folder)) for figure in figures])
    )


def _section(validation: Validation, figures: Sequence[str]) -> str:
    """Return the content of the section in Markdown."""
    counts = [
        f"{sum(record.outcome == outcome for record in validation.results)} {outcome}"
        for outcome in ("failed", "warning", "passed", "not applicable")
    ]
    findings = [record for record in validation.results if record.outcome in {"failed", "warning"}]
    others = [record for record in validation.results if record not in findings]
    rows = [_row(record) for record in (*findings[:_MAX_FINDINGS], *others)]
    if len(findings) > _MAX_FINDINGS:
        rows.append(f"| and {len(findings) - _MAX_FINDINGS} more | | `validation.json` has all results | |")
    pictures = "".join(f"\n![{Path(figure).stem}]({figure})" for figure in figures)
    return (
        f"`validate` has {validation.outcome} these data: {', '.join(counts)}. "
        "docs/dataset.md describes each check.\n\n"
        "| check | outcome | finding, or reason | numbers |\n| --- | --- | --- | --- |\n"
        + "\n".join(rows)
        + f"\n{pictures}\n"
    )


def _row(record: CheckRecord) -> str:
    numbers = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in record.numbers.items())
    message = record.message.replace("|", "\\|").replace("\n", " ")
    return f"| {record.check} | {record.outcome} | {message} | {numbers} |"


def _draw(folder: Path, manifest: Manifest, table: RowTable) -> list[Path]:
    """Draw the figures and return their paths."""
    # Imported here because a validation of few trajectories draws nothing, and matplotlib is slow to import.
    from pipeline.data.card.figures import save_figure
    from pipeline.plots import distributions

    figure_folder = folder / "figures"
    writable_folder(figure_folder)
    parameters = [
        (column, parameter)
        for column, parameter in enumerate(manifest.spec.parameters)
        if parameter.high > parameter.low
    ]
    rows = {SPLITS[number]: table.split == number for number in np.unique(table.split)}
    figures = {}
    if parameters:
        columns = [column for column, _ in parameters]
        points = {split: table.parameters[mask][:, columns] for split, mask in rows.items()}
        figures["checks-parameters"] = distributions.draw_box(
            [parameter for _, parameter in parameters], points
        )
    measures = {
        _axis_text(measure): 10**measure.values if measure.is_logarithmic else measure.values
        for measure in measures_of(manifest.header, table)
        if measure.name in _SHOWN
    }
    if measures:
        figures["checks-splits"] = distributions.draw_splits(
            {text: {split: values[mask] for split, mask in rows.items()} for text, values in measures.items()}
        )
        figures["checks-shards"] = distributions.draw_shards(measures, table.shard, table.split, SPLITS)
    return [save_figure(figure, figure_folder / f"{name}.png") for name, figure in figures.items()]


def _axis_text(measure: Measure) -> str:
    """Return the label of an axis: what is shown, of which field, in which unit."""
    from pipeline.plots.labels import label

    return f"{_SHOWN[measure.name]}\nof {label(measure.field, measure.unit)}"
