"""The check that the fields of the training split vary, because a surrogate cannot learn equal values."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.data.manifest import Manifest
from pipeline.data.statistics import read_statistics
from simsurrogate.errors import UserError


def mistake(folder: Path, manifest: Manifest) -> str | None:
    """Return which field has no variance in the precision of the files, or that no field changes in time."""
    precision = manifest.configuration["storage"]["precision"]
    try:
        stats = read_statistics(folder / "stats.yaml", manifest.header)
    except UserError:
        return None  # The check of the statistics reports the file.
    for field in manifest.spec.fields:
        if not np.any(stats["std"][field.name]):
            return (
                f"{field.name} has no variance in the training split, its values are "
                f"{stats['min'][field.name]} to {stats['max'][field.name]} {field.unit} in {precision}. "
                "Every field must vary. Generate larger variations, or type storage.precision=float64"
            )
    if not any(np.any(stats["std_delta"][field.name]) for field in manifest.spec.fields):
        return (
            f"no field changes from frame to frame in {precision}. The fields must change in time. Generate "
            "data with a longer output.duration"
        )
    return None
