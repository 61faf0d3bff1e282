"""The page docs/performance.md, from the stored results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.support.measuring import RESULTS, shown

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "performance.md"

_HEAD = """\
# Performance

This page compares the speed and accuracy of the solvers and surrogates with those of their peers.
`python -m benchmarks.support.table` writes it from `benchmarks/results/`; each section is one script under
`benchmarks/`, and `make bench` runs most of them. A script runs the peer and this code in turn, in one run,
on one core unless it says otherwise, and stops if the two results do not agree. Figures are medians. Compare
ratios rather than times, because other work shared the machine. Benchmarks that a peer wins are listed too.
"""


def page() -> str:
    """Return the text of the page."""
    results = [(path.stem, json.loads(path.read_text())) for path in sorted(RESULTS.glob("*.json"))]
    return "\n".join([_HEAD, *(_section(name, record) for name, record in results)])


def _section(name: str, record: dict[str, Any]) -> str:
    columns = list(dict.fromkeys(key for row in record["rows"] for key in row))
    lines = [columns, ["---"] * len(columns)]
    for row in record["rows"]:
        lines.append([shown(row[key]).replace("|", "\\|") if key in row else "" for key in columns])
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    versions = ", ".join(f"{package} {version}" for package, version in record["versions"].items())
    machine = f"{record['machine']['processor']}, {record['machine']['system']}"
    (script,) = (ROOT / "benchmarks").rglob(f"{name}.py")
    return f"## {record['claim']}\n\n{table}\n`{script.relative_to(ROOT)}`; {machine}; {versions}.\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
