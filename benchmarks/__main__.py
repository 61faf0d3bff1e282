"""`python -m benchmarks` runs what takes a quarter of an hour, and makes docs/performance.md of all results.

Those left out are run by their names: `python -m benchmarks.nbody_three_body`.
"""

import pkgutil
import subprocess
import sys

import benchmarks
from benchmarks import table

NOT_HERE = ("__main__", "heat_peers", "measuring", "table", "training")
#: Four minutes or more each; together over an hour.
BY_THEMSELVES = (
    "constraints",
    "fno_equal_time",
    "hamiltonian_two_body",
    "nbody_three_body",
    "operator_networks",
    "pinn_heat_1d",
    "pinn_losses_and_points",
    "pinn_without_data",
    "surrogates_on_systems",
)

# Each in a process of its own: peers set thread counts and environments when they are imported.
for module in pkgutil.iter_modules(benchmarks.__path__):
    if module.name not in NOT_HERE + BY_THEMSELVES:
        subprocess.run([sys.executable, "-m", f"benchmarks.{module.name}"], check=True)
table.main()
