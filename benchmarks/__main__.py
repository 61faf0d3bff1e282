"""`python -m benchmarks` runs all benchmarks of less than four minutes each, a quarter of an hour in total.

The command ends with docs/performance.md, written from all stored results. The longer benchmarks run by name:
`python -m benchmarks.solvers.nbody_three_body`.
"""

import pkgutil
import subprocess
import sys

import benchmarks
from benchmarks.support import table

#: Benchmarks of four minutes or more each; together over an hour.
LONG = (
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

# A separate process for each benchmark, because peers set thread counts and environments at import.
for module in pkgutil.walk_packages(benchmarks.__path__, "benchmarks."):
    is_benchmark = (
        not module.ispkg and ".support." not in module.name and not module.name.endswith("__main__")
    )
    if is_benchmark and module.name.rpartition(".")[2] not in LONG:
        subprocess.run([sys.executable, "-m", module.name], check=True)
table.main()
