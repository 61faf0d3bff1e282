"""The data card: a README.md on the content, the generation and the reading of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import yaml

from pipeline.data.card import figures
from pipeline.data.lineage.family import origin_texts
from pipeline.data.manifest import Manifest
from pipeline.data.plan import SPLITS
from pipeline.data.statistics import TrainingStatistics
from simsurrogate.files import write_whole
from simsurrogate.spec import Axis

#: The largest number of failures on the card.
_MAX_FAILURES = 10

#: The statistics of a field on the card.
_STATISTICS_KEYS: tuple[Literal["min", "max", "mean", "std", "std_delta"], ...] = (
    "min",
    "max",
    "mean",
    "std",
    "std_delta",
)

#: The section on reading the data.
_READING_SECTION = """\
## Reading it

These lines read the data in this folder; its format is [The Well](https://github.com/PolymathicAI/the_well):

```python
from the_well.data import WellDataset
dataset = WellDataset(path=".", well_split_name="train", n_steps_input=1, n_steps_output=1)

import xarray
xarray.open_dataset("{shard}", engine="h5netcdf")
```

Only shards in `manifest.json` belong to the data set. `python -m pipeline.validate run=SOME_RUN dataset=DIR`
checks the shards and writes its record to `SOME_RUN/records`.
"""


def write(folder: Path, manifest: Manifest, stats: TrainingStatistics) -> None:
    """Write `README.md` and the figures of a data set."""
    paths = figures.draw(folder, manifest)
    sections = [
        f"# {manifest.spec.name}\n\n    {manifest.spec.equation or 'no equation is stated'}\n",
        *_origin(manifest),
        _axes(manifest),
        *_coarsening(manifest),
        _fields(manifest, stats),
        _parameters(manifest, stats),
        _sizes(manifest),
        *_errors(manifest),
        *_predictability(manifest),
        "## Figures\n\n" + "\n".join(f"![{path.stem}]({path.relative_to(folder)})" for path in paths) + "\n",
        _READING_SECTION.format(shard=manifest.shards[0].file),
        "## Configuration\n\n```yaml\n" + yaml.safe_dump(manifest.configuration, sort_keys=False) + "```\n",
    ]
    write_whole(folder / "README.md", "\n".join(sections))


def _origin(manifest: Manifest) -> list[str]:
    """Return the section on the origin of the trajectories, and on the source of adopted data."""
    lines = [f"- {text}\n" for text in origin_texts(manifest.family, manifest.identity)]
    num_rejected = sum(failure.rejected for failure in manifest.failed)
    if manifest.origin.verified:
        kept = sum(shard.trajectories for shard in manifest.shards)
        lines.append(f"\nThe verification kept {kept} of {kept + num_rejected} trajectories.\n")
    if manifest.origin.is_model_output:
        lines.append(
            "\nA surrogate computed these data. A model that is trained on them learns its errors, and an "
            "error against them is not the error against the truth. `python -m pipeline.lineage` prints "
            "the ancestors.\n"
        )
    adopted = manifest.configuration.get("adopted")
    if adopted is not None:
        start = adopted["first_time"]
        shift = (
            f" The times of the source start at {start:g} s, and those of the data set at 0 s."
            if start
            else ""
        )
        verb = "are read in place from" if manifest.links else "were copied from"
        lines.append(
            f"\nThese data {verb} `{adopted['source']}` ({adopted['layout']}), whose files "
            f"have the checksum {adopted['sha256']}. No solver of this pipeline computed them.{shift}\n"
        )
    return ["## Origin\n\n" + "".join(lines)]


def _axes(manifest: Manifest) -> str:
    times = manifest.header.times
    rows = [
        [axis.name, axis.unit, axis.size, axis.lower, axis.upper, _boundary(axis)]
        for axis in manifest.spec.axes
    ]
    rows.append(["time", "s", len(times), times[0], times[-1], ""])
    return "## Axes\n\n" + _table(["axis", "unit", "size", "from", "to", "boundary"], rows)


def _coarsening(manifest: Manifest) -> list[str]:
    """Return the section on the coarser grid, if the solver's grid is finer."""
    coarsening = manifest.spec.coarsening
    if coarsening is None:
        return []
    cells = " x ".join(map(str, coarsening.cells))
    own_cells = " x ".join(
        str(axis.size * count) for axis, count in zip(manifest.spec.axes, coarsening.cells, strict=True)
    )
    frames = (
        "the mean over its cells"
        if coarsening.method == "cell_averages"
        else "the spectral truncation, with the waves that both grids resolve"
    )
    return [
        f"## Coarser grid\n\nThe solver's grid has {own_cells} cells. A stored cell holds {cells} of these "
        f"cells: a field is {frames}, so means over the box are kept. Invariants and expected errors belong "
        "to the solver's grid. A trajectory cannot start from a stored frame.\n"
    ]


def _boundary(axis: Axis) -> str:
    lower_value, upper_value = axis.boundary_values
    return f"{axis.boundary} {lower_value:g}, {upper_value:g}" if axis.has_walls else axis.boundary


def _fields(manifest: Manifest, stats: TrainingStatistics) -> str:
    spec, keys = manifest.spec, _STATISTICS_KEYS
    rows = [
        [field.name, field.unit, field.description, variation]
        + [stats[key].get(field.name, "") for key in keys]
        for fields, variation in ((spec.fields, "in time"), (spec.coefficient_fields, "constant"))
        for field in fields
    ]
    headings = ["field", "unit", "description", "varies", *keys]
    return "## Fields, over the training split\n\n" + _table(headings, rows)


def _parameters(manifest: Manifest, stats: TrainingStatistics) -> str:
    keys = ("min", "max", "mean", "std")
    rows = [
        [parameter.name, parameter.unit, parameter.description, parameter.low, parameter.high]
        + [stats["parameters"][parameter.name][key] for key in keys]
        for parameter in manifest.spec.parameters
    ]
    headings = ["parameter", "unit", "description", "from", "to", *keys]
    array_shapes = [f"`{name}` {list(shape)}" for name, shape in manifest.parameter_shapes.items()]
    note = (
        f"\nEach trajectory has further parameters, which are arrays: {', '.join(array_shapes)}.\n"
        if array_shapes
        else ""
    )
    return "## Parameters, over the training split\n\n" + _table(headings, rows) + note


def _sizes(manifest: Manifest) -> str:
    rows = []
    for split in SPLITS:
        shards = [shard for shard in manifest.shards if shard.file.startswith(f"data/{split}/")]
        if shards:
            count, size = sum(shard.trajectories for shard in shards), sum(shard.size for shard in shards)
            core_seconds = sum(shard.core_seconds for shard in shards)
            rows.append([split, count, len(shards), size / 1e6, core_seconds, core_seconds / count])
    headings = ["split", "trajectories", "shards", "MB", "core-seconds", "core-seconds per trajectory"]
    failure_lines = [
        f"- trajectory {failure.index}: {failure.reason}" for failure in manifest.failed[:_MAX_FAILURES]
    ]
    if len(manifest.failed) > _MAX_FAILURES:
        failure_lines.append(
            f"- and {len(manifest.failed) - _MAX_FAILURES} more; `manifest.json` lists all failures"
        )
    text = f"## Size and cost\n\nMethod: {manifest.method}.\n\n" + _table(headings, rows)
    return text + ("\nFailed and left out:\n\n" + "\n".join(failure_lines) + "\n" if failure_lines else "")


def _errors(manifest: Manifest) -> list[str]:
    """Return the section on the expected errors, if there are any."""
    if not manifest.expected_errors:
        return []
    names = {"train": "train, valid, test", "test_extrapolation": "test_extrapolation"}
    rows = [
        [names[split], *(f"{100 * error:.2g} %" for error in (errors.grid, errors.time))]
        for split, errors in manifest.expected_errors.items()
    ]
    text = (
        f"The error of the last frame, at {manifest.header.times[-1]:g} s, relative to the norm of the exact "
        "solution: the largest of the first trajectories, each compared with a solution on a finer grid and "
        "with shorter steps. The error of a surrogate below this size is not meaningful.\n\n"
    )
    return ["## Expected error\n\n" + text + _table(["splits", "grid", "steps in time"], rows)]


def _predictability(manifest: Manifest) -> list[str]:
    """Return the section on the predictable times, if there are any."""
    if not manifest.predictability:
        return []
    rows = [
        [split, summary.complete, summary.trajectories, summary.median, summary.minimum]
        for split, summary in manifest.predictability.items()
    ]
    text = (
        "Small errors grow in these trajectories. `scalars/predictable_time` of a trajectory is the time "
        "until which the error of its steps in time, from a solution of another accuracy, stays below 1 %. "
        "Later frames are one of many possible solutions, and the error of a surrogate is not meaningful "
        "there.\n\n"
    )
    headings = ["split", "predictable to the end", "trajectories", "median, s", "least, s"]
    return ["## Predictable time\n\n" + text + _table(headings, rows)]


def _table(headings: list[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    lines = [headings, ["---"] * len(headings), *([_cell_text(value) for value in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell_text(value: object) -> str:
    """Return a value with four significant digits, and a list as its components."""
    if isinstance(value, list):
        return ", ".join(_cell_text(component) for component in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")
