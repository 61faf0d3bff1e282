"""`python -m benchmarks` runs every benchmark, writes benchmarks/results/ and docs/performance.md."""

import pkgutil
import subprocess
import sys

import benchmarks
from benchmarks import table

# Each in a process of its own: peers set thread counts and environments when they are imported.
for module in pkgutil.iter_modules(benchmarks.__path__):
    if module.name not in ("__main__", "measuring", "table"):
        subprocess.run([sys.executable, "-m", f"benchmarks.{module.name}"], check=True)
table.main()
