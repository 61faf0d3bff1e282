"""Makes docs/performance.md from the kept results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.measuring import RESULTS, shown

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"

_HEAD = """\
# Performance

Made from `benchmarks/results/` by `python -m benchmarks.table`; each section is one script under
`benchmarks/`, and `make bench` runs them all and makes this page anew. A script runs the peer and us in
turn, in one run, on one core unless it says otherwise, and stops if the two do not agree on the result.
Figures are medians; the ratios are what to compare, since the machine was shared. Losses are printed as
they are.
"""


def page() -> str:
    """The text of the page."""
    found = [(path.stem, json.loads(path.read_text())) for path in sorted(RESULTS.glob("*.json"))]
    return "\n".join([_HEAD, *(_section(name, record) for name, record in found)])


def _section(name: str, record: dict[str, Any]) -> str:
    columns = list(dict.fromkeys(key for row in record["rows"] for key in row))
    lines = [columns, ["---"] * len(columns)]
    for row in record["rows"]:
        lines.append([shown(row[key]).replace("|", "\\|") if key in row else "" for key in columns])
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    versions = ", ".join(f"{package} {version}" for package, version in record["versions"].items())
    machine = f"{record['machine']['processor']}, {record['machine']['system']}"
    return f"## {record['claim']}\n\n{table}\n`benchmarks/{name}.py`; {machine}; {versions}.\n"


def main() -> None:
    """Writes the page."""
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
