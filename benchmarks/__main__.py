"""`python -m benchmarks` runs every benchmark and writes benchmarks/results/."""

import importlib
import pkgutil

import benchmarks

for module in pkgutil.iter_modules(benchmarks.__path__):
    if module.name not in ("__main__", "measuring"):
        importlib.import_module(f"benchmarks.{module.name}").main()
