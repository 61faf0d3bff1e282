"""Imports: pipeline imports solvers and surrogates, never the reverse."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "absent_modules"),
    [
        ("pipeline", ["torch", "mpi4py", "h5py", "hydra"]),
        ("pipeline.data.dataset", ["torch", "mpi4py", "hydra"]),
        ("pipeline.data.format.writer", ["torch", "mpi4py", "hydra"]),
        ("solvers", ["mpi4py.MPI", "numba", "torch", "hydra"]),
        ("solvers.heat", ["torch", "hydra", "pipeline"]),
        ("surrogates", ["deepxde", "hydra", "mpi4py", "pipeline", "solvers"]),
        ("solvers.contract", ["mpi4py.MPI", "torch", "hydra", "pipeline"]),
        ("pipeline.config.settings", ["mpi4py.MPI", "torch", "hydra"]),
        ("pipeline.train", ["mpi4py.MPI", "solvers.heat", "deepxde"]),
        ("pipeline.generate", ["torch"]),
        ("pipeline.validate", ["torch"]),
    ],
)
def test_an_import_loads_no_unneeded_module(module: str, absent_modules: list[str]) -> None:
    program = f"import sys, {module}; print(*sorted(set({absent_modules!r}) & set(sys.modules)))"
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert process.stdout.split() == []
