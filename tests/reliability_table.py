"""The table of docs/reliability.md from a test run: `python -m tests.reliability_table JUNIT_XML`.

A test of a fault has the marker `fault`, whose values are the row of the table:

    @pytest.mark.fault("a rank dies", cause="SIGKILL to rank 1", result="the run ends", lost="one shard")

The values may contain the parameters of the test in braces. `record_property(HEADING, value)` in a test
replaces the value of a heading. Without it, the seconds are the duration of the test.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
PROPERTY = "reliability"
HEADINGS = ("fault", "cause", "result", "lost", "seconds")
_START, _END = "<!-- table: make reliability -->\n", "<!-- end of table -->\n"


def record_row(item: pytest.Item, test_seconds: float) -> None:
    """Add the row of a test with the marker `fault` to the properties of the test."""
    marker = item.get_closest_marker("fault")
    if marker is None:
        return
    parameters: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
    texts = {"fault": marker.args[0], **marker.kwargs}
    row = {name: text.format(**parameters) for name, text in texts.items()}
    measured = {"seconds": test_seconds} | dict(item.user_properties)
    row |= {name: value for name, value in measured.items() if name in HEADINGS}
    item.user_properties.append((PROPERTY, json.dumps([row[name] for name in HEADINGS])))


def rows(report: Path) -> list[list[str]]:
    """Return the rows of all passed tests of a JUnit report.

    Rows that differ only in seconds become one row, with the longest time.
    """
    cases = ElementTree.parse(report).getroot().iter("testcase")  # noqa: S314 - our own pytest wrote the file
    seconds_of_rows: dict[tuple[str, ...], float] = {}
    for case in cases:
        if any(case.find(outcome) is not None for outcome in ("failure", "error", "skipped")):
            continue
        for entry in case.iter("property"):
            if entry.attrib["name"] == PROPERTY:
                *texts, seconds = json.loads(entry.attrib["value"])
                seconds_of_rows[tuple(texts)] = max(float(seconds), seconds_of_rows.get(tuple(texts), 0))
    return [[*texts, f"{seconds:.1f}"] for texts, seconds in sorted(seconds_of_rows.items())]


def page_with(table_rows: list[list[str]], page: str) -> str:
    """Return the page with these rows as its table."""
    lines = [HEADINGS, ["---"] * len(HEADINGS), *table_rows]
    table = "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n" for cells in lines)
    before, _, rest = page.partition(_START)
    return before + _START + table + _END + rest.partition(_END)[2]


if __name__ == "__main__":
    found_rows = rows(Path(sys.argv[1]))
    if not found_rows:
        sys.exit(f"{sys.argv[1]} holds no row. Run the tests of faults with --junitxml={sys.argv[1]}")
    PAGE.write_text(page_with(found_rows, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"{PAGE} has {len(found_rows)} rows")
