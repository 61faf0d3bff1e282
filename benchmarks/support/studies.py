"""The pages of the studies: docs/studies, with figures in docs/images/studies."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from matplotlib.figure import Figure

from simsurrogate.machine import processor_name

_DOCS = Path(__file__).parents[2] / "docs"
_PACKAGES = ("simsurrogate", "torch", "numpy")


@dataclass(frozen=True)
class Place:
    """The folder of a page and the folder of its figures."""

    pages: Path
    images: Path

    def write(self, name: str, text: str) -> None:
        """Write the page NAME.md and print its path."""
        self.pages.mkdir(parents=True, exist_ok=True)
        path = self.pages / f"{name}.md"
        path.write_text(text)
        print(f"page: {path}", flush=True)

    def save(self, figure: Figure, name: str) -> str:
        """Save a figure as NAME.png, and return the path of the figure relative to the page."""
        self.images.mkdir(parents=True, exist_ok=True)
        path = self.images / f"{name}.png"
        figure.savefig(path, dpi=110)
        return os.path.relpath(path, self.pages)


DOCS = Place(_DOCS / "studies", _DOCS / "images" / "studies")


def origin() -> str:
    """Return the line that names the machine and the versions of the packages."""
    versions = ", ".join(f"{package} {version(package)}" for package in _PACKAGES)
    return f"{processor_name()}, {platform.platform()}; {versions}."


def mean_and_range(values: Sequence[float], percent: bool = False) -> str:
    """Return the mean of the seeds with their range, such as `4.1 (3.8 to 4.4)`."""
    texts = [
        f"{100 * value:.2g} %" if percent else f"{value:.2g}"
        for value in (sum(values) / len(values), min(values), max(values))
    ]
    return f"{texts[0]} ({texts[1]} to {texts[2]})" if len(values) > 1 else texts[0]
