"""Sections that `validate` adds to the data card."""

from __future__ import annotations

from pathlib import Path

from simsurrogate.documents import read_text
from simsurrogate.files import write_whole

#: The sections before which the sections of `validate` stand.
_NEXT_SECTIONS = ("Figures", "Reading")


def write_section(card: Path, heading: str, text: str) -> None:
    """Write a section into the data card, in place of an earlier one. Without a card nothing is written.

    Args:
        card: the path of README.md.
        heading: the heading of the section.
        text: the content of the section in Markdown.
    """
    if not card.is_file():
        return
    content = read_text(card, "Delete the file, and type the command of python -m pipeline.generate")
    head, *sections = content.decode(errors="replace").split("\n## ")
    others = [section for section in sections if not section.startswith(f"{heading}\n")]
    position = next(
        (number for number, section in enumerate(others) if section.startswith(_NEXT_SECTIONS)), len(others)
    )
    own = f"{heading}\n\n{text}"
    write_whole(card, "\n## ".join([head, *others[:position], own, *others[position:]]))
