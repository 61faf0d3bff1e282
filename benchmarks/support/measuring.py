"""What every benchmark does alike: time in turn, print the figures, keep them with the machine's name."""

from __future__ import annotations

import importlib.metadata
import json
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "results"


def medians(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The median seconds of each run; the runs take turns, so that a noisy moment hits them all."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for round_number in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if round_number > 0:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def medians_apart(makers: dict[str, Callable[[], Callable[[], object]]], rounds: int) -> dict[str, float]:
    """As `medians`, each run made and done in a process of its own: what one sets, the others do not see."""
    context = multiprocessing.get_context("spawn")
    lines = {}
    for name, make in makers.items():
        lines[name], theirs = context.Pipe()
        context.Process(target=_serve, args=(make, theirs)).start()
        theirs.close()
    try:
        return medians({name: partial(_ask, line) for name, line in lines.items()}, rounds)
    finally:
        for line in lines.values():
            line.close()


def _serve(make: Callable[[], Callable[[], object]], line: Connection) -> None:
    """Runs each time it is asked, until the line is closed."""
    run = make()
    with suppress(EOFError):
        while True:
            line.recv()
            run()
            line.send(None)


def _ask(line: Connection) -> None:
    line.send(None)
    line.recv()


def keep(name: str, claim: str, rows: list[dict[str, object]], packages: list[str]) -> None:
    """Prints the rows and writes them to `benchmarks/results/NAME.json` with machine and versions."""
    print(f"\n{claim}")
    for row in rows:
        print("  " + "  ".join(f"{key}: {shown(value)}" for key, value in row.items()))
    record = {
        "claim": claim,
        "machine": {"processor": processor(), "system": platform.platform()},
        "versions": {package: importlib.metadata.version(package) for package in packages},
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")


def shown(value: object) -> str:
    """A value as tables print it."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def processor() -> str:
    """The name of this machine's processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
