"""The command `python -m benchmarks`, a run of all benchmarks of less than four minutes.

The run takes 15 minutes in total, and ends with an update of docs/performance.md from all stored results. A
longer benchmark has its own command, for example `python -m benchmarks.solvers.nbody_three_body`.
"""

import pkgutil
import subprocess
import sys

import benchmarks
from benchmarks.support import table

#: The benchmarks of four minutes or more, over an hour in total.
LONG_BENCHMARKS = (
    "composite_training",
    "constraints",
    "coverage",
    "fine_tuning",
    "fno_equal_time",
    "hamiltonian_two_body",
    "hybrid",
    "inference",
    "nbody_three_body",
    "operator_networks",
    "other_grids",
    "pinn_heat_1d",
    "pinn_losses_and_points",
    "pinn_without_data",
    "self_stated_error",
    "surrogates",
    "surrogates_on_systems",
    "symmetries",
    "worth_by_hand",
    "worth_of_systems",
)

# Each benchmark has its own process, because peers set thread counts and environment variables at import.
for module in pkgutil.walk_packages(benchmarks.__path__, "benchmarks."):
    is_benchmark = (
        not module.ispkg and ".support." not in module.name and not module.name.endswith("__main__")
    )
    if is_benchmark and module.name.rpartition(".")[2] not in LONG_BENCHMARKS:
        subprocess.run([sys.executable, "-m", module.name], check=True)
table.main()
