"""The table of docs/reliability.md from a test run: `python -m tests.reliability_table JUNIT_XML`.

Tests of faults fill in rows with the fixture `reliability_row`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
PROPERTY = "reliability"
HEADINGS = ("fault", "cause", "result", "s until all processes had ended", "lost")
_START, _END = "<!-- table: make reliability -->\n", "<!-- end of table -->\n"


def rows(report: Path) -> list[list[str]]:
    """Return the rows of all passed tests of a JUnit report."""
    cases = ElementTree.parse(report).getroot().iter("testcase")  # noqa: S314 - our own pytest wrote the file
    return [
        json.loads(entry.attrib["value"])
        for case in cases
        if case.find("failure") is None and case.find("error") is None
        for entry in case.iter("property")
        if entry.attrib["name"] == PROPERTY
    ]


def page_with(table_rows: list[list[str]], page: str) -> str:
    """Return the page with these rows as its table."""
    lines = [HEADINGS, ["---"] * len(HEADINGS), *sorted(table_rows)]
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    before, _, rest = page.partition(_START)
    return before + _START + table + _END + rest.partition(_END)[2]


if __name__ == "__main__":
    found_rows = rows(Path(sys.argv[1]))
    if not found_rows:
        sys.exit(f"{sys.argv[1]} holds no row. Run the tests of faults with --junitxml={sys.argv[1]}")
    PAGE.write_text(page_with(found_rows, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
