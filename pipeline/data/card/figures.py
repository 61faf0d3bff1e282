"""The figures of a data card: a few trajectories of the training split, invariants and spectra."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.data.format.layout import field_path
from pipeline.data.format.structure import Structures
from pipeline.data.manifest import Manifest
from pipeline.data.windows import Shards
from pipeline.plots import fields, particles, series, spectra
from simsurrogate.files import writable_folder, write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_TRAJECTORIES = 3
_NUM_FRAMES = 4
#: A regular expression of the names of the figures.
FIGURE_NAME = r"(train-\d+|invariants|spectra|checks-(parameters|splits|shards))\.png"


def draw(folder: Path, manifest: Manifest) -> list[Path]:
    """Draw the figures to `figures/` and return their paths.

    The figures show the first trajectories and their invariants; in a periodic box, another figure shows the
    spectra of the first trajectory.
    """
    entries = [shard for shard in manifest.shards if shard.file.startswith("data/train/")]
    files = [folder / entry.file for entry in entries]
    trajectories = [entry.trajectories for entry in entries]
    shards = Shards(Structures(manifest.header), files, trajectories, [None] * len(entries))
    num_trajectories = min(_MAX_TRAJECTORIES, len(shards))
    figure_folder = folder / "figures"
    writable_folder(figure_folder)
    paths = [
        save_figure(_draw_trajectory(shards, position), figure_folder / f"train-{position}.png")
        for position in range(num_trajectories)
    ]
    if shards.header.spec.invariants:
        paths.append(
            save_figure(_draw_invariants(shards, num_trajectories), figure_folder / "invariants.png")
        )
    if all(boundary == "periodic" for boundary in shards.header.spec.boundaries):
        paths.append(save_figure(_draw_spectra(shards), figure_folder / "spectra.png"))
    return paths


def _draw_trajectory(shards: Shards, position: int) -> Figure:
    """Draw the fields, or the paths of particles; only the frames of the figure are in memory."""
    header = shards.header
    arrays, row = _locate(shards, position)
    if header.spec.has_particles:
        field = next(field for field in header.spec.fields if field.name == "position")
        x, y = np.moveaxis(arrays[field_path(field)][row], -1, 0)[:2]
        figure = particles.draw(header.times, x, y, field.unit, _NUM_FRAMES)
    else:
        frames = np.unique(np.linspace(0, len(header.times) - 1, _NUM_FRAMES).astype(int))
        coefficients = np.empty((len(header.spec.coefficient_channels), *header.spec.shape), header.precision)
        shards.fill("coefficient_fields", arrays, (row,), coefficients, axis=0)
        states = _states(shards, position, frames)
        figure = fields.draw(header.spec, header.times[frames], states, coefficients)
    values = ", ".join(
        f"{name} = {arrays[f'scalars/{name}'][row]:.3g}" for name in header.spec.parameter_names
    )
    figure.suptitle(f"trajectory {arrays['sample'][row]}: {values}", fontsize="medium", wrap=True)
    return figure


def _draw_invariants(shards: Shards, num_trajectories: int) -> Figure:
    """Draw the invariants of the first `num_trajectories` trajectories over time."""
    invariants = shards.header.spec.invariants
    values = np.empty((len(invariants), num_trajectories, len(shards.header.times)))
    for position in range(num_trajectories):
        arrays, row = _locate(shards, position)
        for index, quantity in enumerate(invariants):
            values[index, position] = arrays[f"scalars/{quantity.name}"][row]
    return series.draw(shards.header.times, invariants, values)


def _draw_spectra(shards: Shards) -> Figure:
    """Draw the spectra of the first and the last frame of the first trajectory."""
    header = shards.header
    spec, frames = header.spec, np.array([0, len(header.times) - 1])
    states = _states(shards, 0, frames)
    return spectra.draw(spec.channels, spec.extent, spec.axes[0].unit, header.times[frames], states)


def _locate(shards: Shards, position: int) -> tuple[dict[str, np.ndarray], int]:
    """Return the arrays of a trajectory's shard, and the trajectory's row."""
    (shard,), (row,) = shards.locate(np.array([position]))
    return shards.arrays(int(shard)), int(row)


def _states(shards: Shards, position: int, frames: np.ndarray) -> np.ndarray:
    """Return some frames of a trajectory, (frames, C, *sites)."""
    header = shards.header
    arrays, row = _locate(shards, position)
    states = np.empty((len(frames), len(header.spec.channels), *header.spec.shape), header.precision)
    for index, frame in enumerate(frames):
        shards.fill("fields", arrays, (row, frame), states[index], axis=0)
    return states


def save_figure(figure: Figure, path: Path) -> Path:
    """Save a figure as PNG; the file appears under its name only when it is whole."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=100)
    write_whole(path, png.getvalue())
    return path
