"""Pictures of a few trajectories of a data set, in one, two or three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.data.files import partial_path, publish
from pipeline.data.layout import Header
from pipeline.data.manifest import Manifest
from pipeline.data.windows import Shards

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TRAJECTORIES = 3
_FRAMES = 4


def draw(folder: Path, manifest: Manifest) -> list[Path]:
    """Draws the first trajectories of the training split to `pictures/`; the files."""
    listed = [shard for shard in manifest.shards if shard.file.startswith("data/train/")]
    files = [folder / shard.file for shard in listed]
    shards = Shards(manifest.header, files, [shard.trajectories for shard in listed])
    (folder / "pictures").mkdir(exist_ok=True)
    drawn = []
    for number in range(min(_TRAJECTORIES, len(shards))):
        path = folder / "pictures" / f"train-{number}.png"
        _draw_trajectory(shards, number, path)
        drawn.append(path)
    return drawn


def _draw_trajectory(shards: Shards, number: int, path: Path) -> None:
    """One row of panels a channel, the coefficients in the row below; memory is that of the frames shown."""
    from matplotlib.figure import Figure

    header = shards.header
    (shard,), (row,) = shards.locate(np.array([number]))
    arrays = shards.arrays(int(shard))
    frames = np.unique(np.linspace(0, len(header.times) - 1, _FRAMES).astype(int))
    state = np.empty((len(frames), len(header.channels("fields")), *header.sites), header.precision)
    for place, frame in enumerate(frames):
        shards.fill("fields", arrays, (row, frame), state[place], axis=0)
    coefficients = np.empty((len(header.channels("coefficients")), *header.sites), header.precision)
    shards.fill("coefficients", arrays, (row,), coefficients, axis=0)
    fields, constant = header.channels("fields"), header.channels("coefficients")
    if len(header.sites) == 1:
        rows, columns = len(fields) + len(constant), 1
    else:
        rows = len(fields) + (len(constant) + len(frames) - 1) // len(frames)
        columns = len(frames)
    figure = Figure(figsize=(2.9 * columns + 1.6, 2.7 * rows + 0.4), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    values = ", ".join(f"{name} = {arrays[f'scalars/{name}'][row]:.3g}" for name in header.parameters)
    figure.suptitle(f"trajectory {arrays['sample'][row]}: {values}", fontsize="medium", wrap=True)
    for channel, name in enumerate(fields):
        titles = [f"{name}, t = {header.times[frame]:.3g} s" for frame in frames]
        _draw_row(figure, panels[channel], header, state[:, channel], titles)
    rest = list(panels[len(fields) :].flat)
    for place, name in enumerate(constant):
        _draw_row(figure, rest[place : place + 1], header, coefficients[place][None], [name])
    for empty in rest[len(constant) :]:
        empty.set_axis_off()
    try:
        figure.savefig(partial_path(path), format="png", dpi=100)
    except BaseException:
        partial_path(path).unlink(missing_ok=True)
        raise
    publish(partial_path(path), path)


def _draw_row(
    figure: Any, panels: Sequence[Axes], header: Header, values: np.ndarray, titles: list[str]
) -> None:
    """One channel at several times, in one scale: lines in 1-D, images in 2-D, a middle slice in 3-D."""
    axes = header.spec["axes"]
    if len(axes) == 1:
        centres = np.linspace(axes[0]["lower"], axes[0]["upper"], 2 * axes[0]["size"] + 1)[1::2]
        for line, title in zip(values, titles, strict=True):
            panels[0].plot(centres, line, label=title)
        panels[0].legend(fontsize="small")
        panels[0].set_xlabel(f"{axes[0]['name']} ({axes[0]['unit']})")
        return
    if len(axes) > 2:
        titles = [f"{title}, middle of {axes[2]['name']}" for title in titles]
        values = values[..., values.shape[-1] // 2]
    extent = (axes[0]["lower"], axes[0]["upper"], axes[1]["lower"], axes[1]["upper"])
    limits = {"vmin": values.min(), "vmax": values.max()}
    for panel, image, title in zip(panels, values, titles, strict=False):
        shown = panel.imshow(image.T, origin="lower", extent=extent, **limits)
        panel.set_title(title, fontsize="small")
        panel.set_xlabel(f"{axes[0]['name']} ({axes[0]['unit']})")
        panel.set_ylabel(f"{axes[1]['name']} ({axes[1]['unit']})")
    figure.colorbar(shown, ax=list(panels[: len(values)]), shrink=0.8)
