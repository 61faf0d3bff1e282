"""A page of a verdict, warnings and parts, without other files, network or scripts."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import jinja2

from pipeline.evaluation.report.page.svg import is_wide, themed
from pipeline.evaluation.report.part import ReportPart
from pipeline.evaluation.report.verdict import Level

#: A sign for each level, because a colour alone does not reach all readers.
_SIGNS: dict[Level, str] = {
    "good": "\N{HEAVY CHECK MARK}",
    "batches": "\N{HEAVY CHECK MARK}",
    "useless": "\N{EN DASH}",
    "poor": "\N{EN DASH}",
    "worse": "\N{HEAVY MULTIPLICATION X}",
    "open": "?",
}


@dataclass(frozen=True)
class Page:
    """The content of a page.

    Attributes:
        title: the heading.
        level: the level of the verdict, for its colour and its sign; None without a verdict.
        verdict: the verdict in a few words.
        conclusion: the reason for the verdict, in plain sentences.
        warnings: what a reader must know before trusting the numbers.
        parts: the parts in the order of reading.
        own_name: the name whose rows in tables are marked.
    """

    title: str
    level: Level | None
    verdict: str
    conclusion: str
    warnings: Sequence[str]
    parts: Sequence[ReportPart]
    own_name: str = ""


def render_page(page: Page) -> str:
    """Return the page as HTML. All texts are escaped."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"uri": data_uri, "png_uri": _png_uri, "is_wide": is_wide}
    template = environment.from_string(
        files("pipeline.evaluation.report.page").joinpath("page.html.j2").read_text(encoding="utf-8")
    )
    sign = "" if page.level is None else _SIGNS[page.level]
    max_frames = max(
        (len(group.times) for part in page.parts for group in part.maps),
        default=1,
    )
    return template.render(page=page, sign=sign, max_frames=max_frames)


def data_uri(path: Path) -> str:
    """Return a picture as an address that holds its bytes; an SVG follows the colours of the page."""
    if path.suffix == ".svg":
        content = themed(path.read_text(encoding="utf-8")).encode()
        return f"data:image/svg+xml;base64,{base64.b64encode(content).decode('ascii')}"
    return _png_uri(path.read_bytes())


def _png_uri(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"
