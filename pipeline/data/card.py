"""The data card: a README.md that says what a data set holds, and pictures of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.data.files import write_whole
from pipeline.data.manifest import Manifest


def write(folder: Path, manifest: Manifest, statistics: dict[str, Any]) -> None:
    """Writes `README.md` and the pictures it shows."""
    write_whole(folder / "README.md", f"# {manifest.spec['name']}\n")
