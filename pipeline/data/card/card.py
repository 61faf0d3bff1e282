"""The data card: a README.md that says what a data set holds, how it was made and how to read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from pipeline.data.card import figures
from pipeline.data.manifest import Manifest
from pipeline.data.plan import SPLITS
from simsurrogate.files import write_whole
from simsurrogate.spec import Axis

#: So many failures are told on the card.
_FAILURES = 10

_READING = """\
## Reading it

In this folder; the layout is that of [The Well](https://github.com/PolymathicAI/the_well):

```python
from the_well.data import WellDataset
dataset = WellDataset(path=".", well_split_name="train", n_steps_input=1, n_steps_output=1)

import xarray
xarray.open_dataset("{shard}", engine="h5netcdf")
```

Only the shards that `manifest.json` lists count. `python -m pipeline.validate run=SOME_RUN dataset=DIR`
checks them; its record goes to `SOME_RUN/records`.
"""


def write(folder: Path, manifest: Manifest, statistics: dict[str, Any]) -> None:
    """Writes `README.md` and the pictures it shows."""
    pictures = figures.draw(folder, manifest)
    sections = [
        f"# {manifest.spec.name}\n\n    {manifest.spec.equation}\n",
        _axes(manifest),
        _fields(manifest, statistics),
        _parameters(manifest, statistics),
        _sizes(manifest),
        "## Pictures\n\n"
        + "\n".join(f"![{path.stem}]({path.relative_to(folder)})" for path in pictures)
        + "\n",
        _READING.format(shard=manifest.shards[0].file),
        "## Configuration\n\n```yaml\n" + yaml.safe_dump(manifest.configuration, sort_keys=False) + "```\n",
    ]
    write_whole(folder / "README.md", "\n".join(sections))


def _axes(manifest: Manifest) -> str:
    times = manifest.header.times
    rows = [
        [axis.name, axis.unit, axis.size, axis.lower, axis.upper, _boundary(axis)]
        for axis in manifest.spec.axes
    ]
    rows.append(["time", "s", len(times), times[0], times[-1], ""])
    return "## Axes\n\n" + _table(["axis", "unit", "size", "from", "to", "boundary"], rows)


def _boundary(axis: Axis) -> str:
    lower, upper = axis.boundary_values
    return f"{axis.boundary} {lower:g}, {upper:g}" if axis.has_walls else axis.boundary


def _fields(manifest: Manifest, statistics: dict[str, Any]) -> str:
    spec, keys = manifest.spec, ("min", "max", "mean", "std", "std_delta")
    rows = [
        [field.name, field.unit, field.description, varies]
        + [statistics[key].get(field.name, "") for key in keys]
        for fields, varies in ((spec.fields, "in time"), (spec.coefficient_fields, "constant"))
        for field in fields
    ]
    heads = ["field", "unit", "meaning", "varies", *keys]
    return "## Fields, over the training split\n\n" + _table(heads, rows)


def _parameters(manifest: Manifest, statistics: dict[str, Any]) -> str:
    keys = ("min", "max", "mean", "std")
    rows = [
        [one.name, one.unit, one.description, one.low, one.high]
        + [statistics["parameters"][one.name][key] for key in keys]
        for one in manifest.spec.parameters
    ]
    heads = ["parameter", "unit", "meaning", "from", "to", *keys]
    arrays = [f"`{name}` {list(shape)}" for name, shape in manifest.parameter_shapes.items()]
    more = f"\nBesides these, arrays fix each trajectory: {', '.join(arrays)}.\n" if arrays else ""
    return "## Parameters, over the training split\n\n" + _table(heads, rows) + more


def _sizes(manifest: Manifest) -> str:
    rows = []
    for split in SPLITS:
        shards = [shard for shard in manifest.shards if shard.file.startswith(f"data/{split}/")]
        if shards:
            total = [sum(getattr(shard, name) for shard in shards) for name in ("trajectories", "size")]
            cost = sum(shard.core_seconds for shard in shards)
            rows.append([split, total[0], len(shards), total[1] / 1e6, cost, cost / total[0]])
    heads = ["split", "trajectories", "shards", "MB", "core-seconds", "core-seconds a trajectory"]
    failed = [f"- trajectory {failure.index}: {failure.reason}" for failure in manifest.failed[:_FAILURES]]
    if len(manifest.failed) > _FAILURES:
        failed.append(f"- and {len(manifest.failed) - _FAILURES} more, all of them in `manifest.json`")
    text = f"## Size and cost\n\nMethod: {manifest.method}.\n\n" + _table(heads, rows)
    return text + ("\nFailed and left out:\n\n" + "\n".join(failed) + "\n" if failed else "")


def _table(heads: list[str], rows: list[list[Any]]) -> str:
    lines = [heads, ["---"] * len(heads), *([_cell(value) for value in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_cell(one) for one in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")
