"""A part of the report: a heading with sentences, figures and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PartFigure:
    """A picture, SVG or PNG in double resolution, with its caption."""

    path: Path
    caption: str


@dataclass(frozen=True)
class PartTable:
    """A table of texts. The first column is a name; all other columns are numbers with units."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class ReportPart:
    """A part of the report.

    Attributes:
        anchor: the name of the part in addresses, such as `intervals`.
        title: the heading.
        sentences: plain sentences, the most important first.
        figures: pictures below the sentences.
        tables: tables below the pictures, folded.
    """

    anchor: str
    title: str
    sentences: Sequence[str] = ()
    figures: Sequence[PartFigure] = ()
    tables: Sequence[PartTable] = ()
