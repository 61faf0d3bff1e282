"""The figures of a data card: a few trajectories of the training split, invariants and spectra."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.data.format.layout import field_path
from pipeline.data.manifest import Manifest
from pipeline.data.windows import Shards
from pipeline.plots import fields, particles, series, spectra
from simsurrogate.files import partial_path, publish

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TRAJECTORIES = 3
_FRAMES = 4


def draw(folder: Path, manifest: Manifest) -> list[Path]:
    """Draw the figures to `figures/` and return their files.

    The figures show the first trajectories, their invariants, and the spectra of the first one in a periodic
    box.
    """
    listed = [shard for shard in manifest.shards if shard.file.startswith("data/train/")]
    files = [folder / shard.file for shard in listed]
    shards = Shards(manifest.header, files, [shard.trajectories for shard in listed])
    numbers = range(min(_TRAJECTORIES, len(shards)))
    (folder / "figures").mkdir(exist_ok=True)
    drawn = [
        _save(_trajectory(shards, number), folder / "figures" / f"train-{number}.png") for number in numbers
    ]
    if shards.header.spec.invariants:
        drawn.append(_save(_invariants(shards, len(numbers)), folder / "figures" / "invariants.png"))
    if all(boundary == "periodic" for boundary in shards.header.spec.boundaries):
        drawn.append(_save(_spectra(shards), folder / "figures" / "spectra.png"))
    return drawn


def _trajectory(shards: Shards, number: int) -> Figure:
    """Draw fields, or the paths of particles; only the frames shown are in memory."""
    header = shards.header
    arrays, row = _place(shards, number)
    if header.spec.has_particles:
        position = next(field for field in header.spec.fields if field.name == "position")
        x, y = np.moveaxis(arrays[field_path(position)][row], -1, 0)[:2]
        figure = particles.draw(header.times, x, y, position.unit, _FRAMES)
    else:
        frames = np.unique(np.linspace(0, len(header.times) - 1, _FRAMES).astype(int))
        coefficients = np.empty((len(header.spec.coefficient_channels), *header.spec.shape), header.precision)
        shards.fill("coefficient_fields", arrays, (row,), coefficients, axis=0)
        states = _states(shards, number, frames)
        figure = fields.draw(header.spec, header.times[frames], states, coefficients)
    values = ", ".join(
        f"{name} = {arrays[f'scalars/{name}'][row]:.3g}" for name in header.spec.parameter_names
    )
    figure.suptitle(f"trajectory {arrays['sample'][row]}: {values}", fontsize="medium", wrap=True)
    return figure


def _invariants(shards: Shards, count: int) -> Figure:
    invariants = shards.header.spec.invariants
    values = np.empty((len(invariants), count, len(shards.header.times)))
    for number in range(count):
        arrays, row = _place(shards, number)
        for place, quantity in enumerate(invariants):
            values[place, number] = arrays[f"scalars/{quantity.name}"][row]
    return series.draw(shards.header.times, invariants, values)


def _spectra(shards: Shards) -> Figure:
    header = shards.header
    spec, frames = header.spec, np.array([0, len(header.times) - 1])
    states = _states(shards, 0, frames)
    return spectra.draw(spec.channels, spec.extent, spec.axes[0].unit, header.times[frames], states)


def _place(shards: Shards, number: int) -> tuple[dict[str, np.ndarray], int]:
    """Return the arrays of the shard that holds a trajectory, and its row there."""
    (shard,), (row,) = shards.locate(np.array([number]))
    return shards.arrays(int(shard)), int(row)


def _states(shards: Shards, number: int, frames: np.ndarray) -> np.ndarray:
    """Return some frames of a trajectory, (frames, C, *sites)."""
    header = shards.header
    arrays, row = _place(shards, number)
    states = np.empty((len(frames), len(header.spec.channels), *header.spec.shape), header.precision)
    for place, frame in enumerate(frames):
        shards.fill("fields", arrays, (row, frame), states[place], axis=0)
    return states


def _save(figure: Figure, path: Path) -> Path:
    try:
        figure.savefig(partial_path(path), format="png", dpi=100)
    except BaseException:
        partial_path(path).unlink(missing_ok=True)
        raise
    publish(partial_path(path), path)
    return path
