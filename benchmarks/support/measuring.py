"""Timing of alternating runs, and storage of results with machine and versions."""

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

from simsurrogate.machine import processor_name

RESULTS = Path(__file__).parents[1] / "results"


def medians(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median time (s) of each run; the runs alternate to share the noise of the machine."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for round_number in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if round_number > 0:  # the first round is a warm-up
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def medians_in_processes(
    builders: dict[str, Callable[[], Callable[[], object]]], rounds: int
) -> dict[str, float]:
    """Return the median time (s) of each run in its own process with its own global settings."""
    context = multiprocessing.get_context("spawn")
    connections = {}
    for name, build_run in builders.items():
        connections[name], child_end = context.Pipe()
        context.Process(target=_serve_requests, args=(build_run, child_end)).start()
        child_end.close()
    try:
        return medians(
            {name: partial(_request_run, connection) for name, connection in connections.items()}, rounds
        )
    finally:
        for connection in connections.values():
            connection.close()


def _serve_requests(build_run: Callable[[], Callable[[], object]], connection: Connection) -> None:
    """Execute one run for each request, until the connection is closed."""
    run = build_run()
    with suppress(EOFError):
        while True:
            connection.recv()
            run()
            connection.send(None)


def _request_run(connection: Connection) -> None:
    connection.send(None)
    connection.recv()


def print_and_store(name: str, claim: str, rows: list[dict[str, object]], packages: list[str]) -> None:
    """Print the rows, and write `benchmarks/results/NAME.json` with rows, machine and versions."""
    print(f"\n{claim}")
    for row in rows:
        print("  " + "  ".join(f"{key}: {format_value(value)}" for key, value in row.items()))
    record = {
        "claim": claim,
        "machine": {"processor": processor_name(), "system": platform.platform()},
        "versions": {package: importlib.metadata.version(package) for package in packages},
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")


def format_value(value: object) -> str:
    """Return the text of a value for the tables."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
