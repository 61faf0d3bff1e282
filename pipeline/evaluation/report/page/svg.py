"""SVG figures in the colours of the page: light, or dark where the reader prefers dark."""

from __future__ import annotations

import re
from pathlib import Path

#: A figure that is wider, in points, takes the whole width of the page.
_MAX_NARROW_WIDTH = 420
#: The colours of Matplotlib's text, lines, background and grids, and the names of their replacements.
_THEME = {
    "#000000": "--ink",
    "#222222": "--ink",
    "#ffffff": "--card",
    "#e5e5e5": "--line",
    "#e6e6e6": "--line",
    "#0072b2": "--blue",
    "#777777": "--grey",
    "#cccccc": "--line",
}
_STYLE = (
    "<style>:root{--ink:#1c2430;--card:#fff;--line:#dde2e8;--blue:#0072b2;--grey:#6b6b6b;fill:var(--ink)}"
    "@media (prefers-color-scheme:dark){:root{--ink:#e6e9ee;--card:#1d232b;--line:#3a4452;"
    "--blue:#4ba3de;--grey:#a6a6a6}}"
    "text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif!important}</style>"
)


def themed(svg: str) -> str:
    """Return an SVG whose black, white and grey follow the colour scheme of the reader."""
    for colour, name in _THEME.items():
        svg = svg.replace(f": {colour}", f": var({name})")
    return re.sub(r"(<svg\b[^>]*>)", lambda match: match[1] + _STYLE, svg, count=1)


def is_wide(path: Path) -> bool:
    """Return whether a picture needs the whole width of the page; so does every PNG."""
    if path.suffix != ".svg":
        return True
    width = re.search(r'<svg\b[^>]*\bwidth="([0-9.]+)pt"', path.read_text(encoding="utf-8")[:2000])
    return width is not None and float(width[1]) > _MAX_NARROW_WIDTH
