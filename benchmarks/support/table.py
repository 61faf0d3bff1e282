"""The page docs/performance.md, written from the stored results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.support.markdown import table
from benchmarks.support.measuring import RESULTS, format_value

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "performance.md"

_HEAD = """\
# Performance

This page compares the speed and accuracy of the solvers and surrogates with other codes (peers).
`python -m benchmarks.support.table` writes the page from `benchmarks/results/`. Each section is the result of
one script in `benchmarks/`. `make bench` runs most scripts. A script alternates between the peer and this
code, and stops if the two results disagree. The runs use one core unless the title says otherwise. Times are
medians. Compare ratios rather than times, because other work shared the machine. The page also lists
benchmarks with a faster or more accurate peer.
"""


def page() -> str:
    """Return the text of the page."""
    results = [(path.stem, json.loads(path.read_text())) for path in sorted(RESULTS.glob("*.json"))]
    return "\n".join([_HEAD, *(_section(name, record) for name, record in results)])


def _section(name: str, record: dict[str, Any]) -> str:
    columns = list(dict.fromkeys(key for row in record["rows"] for key in row))
    rows = [[format_value(row[key]) if key in row else "" for key in columns] for row in record["rows"]]
    versions = ", ".join(f"{package} {version}" for package, version in record["versions"].items())
    machine = f"{record['machine']['processor']}, {record['machine']['system']}"
    (script,) = (ROOT / "benchmarks").rglob(f"{name}.py")
    origin = f"`{script.relative_to(ROOT)}`; {machine}; {versions}."
    return f"## {record['claim']}\n\n{table(columns, rows)}\n{origin}\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
