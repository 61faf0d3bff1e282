"""A part of the report: a heading with sentences, maps, figures and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.plots.maps import FieldMap


@dataclass(frozen=True)
class PartFigure:
    """A picture, SVG or PNG in double resolution, with its caption."""

    path: Path
    caption: str


@dataclass(frozen=True)
class PartTable:
    """A table of texts. The first columns are names; all other columns are numbers with units.

    `num_text_columns` is the number of the first columns that hold text. A table is folded unless `is_open`.
    """

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    num_text_columns: int = 1
    is_open: bool = False


@dataclass(frozen=True)
class MapGroup:
    """Maps of one trajectory next to each other, with a slider if there are several times.

    Attributes:
        title: the name of the trajectory or of the field.
        maps: truth, prediction and error, each with a frame for each time.
        times: the time of each frame, in words.
        caption: the explanation below the maps.
        inputs: the input of the surrogate: the first frame and the coefficient fields.
    """

    title: str
    maps: Sequence[FieldMap]
    times: Sequence[str]
    caption: str
    inputs: Sequence[FieldMap] = ()


@dataclass(frozen=True)
class ReportPart:
    """A part of the report.

    Attributes:
        anchor: the name of the part in addresses, such as `intervals`.
        title: the heading.
        sentences: plain sentences, the most important first.
        figures: pictures below the sentences.
        tables: tables below the pictures.
        maps: maps of fields between the sentences and the pictures.
        code: lines to read or to type, such as an equation or a command.
        terms: terms with their explanations.
    """

    anchor: str
    title: str
    sentences: Sequence[str] = ()
    figures: Sequence[PartFigure] = ()
    tables: Sequence[PartTable] = ()
    maps: Sequence[MapGroup] = ()
    code: str = ""
    terms: Sequence[tuple[str, str]] = ()
