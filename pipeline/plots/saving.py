"""Figures as files: SVG with selectable text, and PNG in double resolution."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from simsurrogate.files import write_whole

#: Twice the resolution of a screen.
_DPI = 200


def save(figure: Figure, path: Path) -> Path:
    """Write a figure in the format of the file's ending, and return the path.

    The file appears under its name only when it is whole. Equal figures give equal bytes.
    """
    content = io.BytesIO()
    options: dict[str, Any] = {"format": path.suffix[1:]}
    options |= {"metadata": {"Date": None}} if path.suffix == ".svg" else {"dpi": _DPI}
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "simsurrogate"}):
        figure.savefig(content, **options)
    write_whole(path, content.getvalue())
    return path
