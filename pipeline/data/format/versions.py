"""The versions of the format of data sets that this release reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.data.format.layout import GRID_VERSION, PARTICLES_VERSION
from simsurrogate.errors import UserError


def refuse_other_version(path: Path, document: Mapping[str, object]) -> None:
    """Raise `UserError` for the manifest of another format.

    Manifests of version 2 that an earlier release wrote have no `sites` in their spec.
    """
    version, spec = document.get("schema_version"), document.get("spec")
    is_older = isinstance(spec, dict) and "sites" not in spec
    if is_older or version not in (GRID_VERSION, PARTICLES_VERSION):
        release = "an earlier release" if is_older else "another release"
        raise UserError(
            f"{path}: {release} wrote this data set (schema version {version!r}). This release reads grids "
            f"of schema version {GRID_VERSION} and particles of schema version {PARTICLES_VERSION}, with "
            "positions and velocities as vectors, whose specs name their sites. Type the command of "
            "python -m pipeline.generate with overwrite=true: the same seed gives the same trajectories"
        )
