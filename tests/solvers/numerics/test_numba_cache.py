"""The disk cache of compiled kernels, after a change of a source file."""

import subprocess
import sys
from pathlib import Path

import solvers

OUTER = """
from solvers.numerics.numba_cache import compiled
from solvers.inner import factor

@compiled()
def scaled(x):
    return factor() * x
"""
INNER = """
from solvers.numerics.numba_cache import compiled

@compiled()
def factor():
    return {}.0
"""
PROGRAM = "from solvers.outer import scaled; print(scaled(2.0), sum(scaled.stats.cache_hits.values()))"


def test_a_change_of_a_called_kernel_is_detected(tmp_path: Path) -> None:
    folder = tmp_path / "solvers"
    folder.mkdir()
    cache_module = Path(solvers.__path__[0]) / "numerics" / "numba_cache.py"
    (folder / "numerics").mkdir()
    for package in (folder, folder / "numerics"):
        (package / "__init__.py").touch()
    (folder / "numerics" / "numba_cache.py").write_text(cache_module.read_text())
    (folder / "outer.py").write_text(OUTER)

    def run_program() -> list[str]:
        process = subprocess.run(
            [sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return process.stdout.split()

    (folder / "inner.py").write_text(INNER.format(3))
    assert run_program() == ["6.0", "0"]
    assert run_program() == ["6.0", "1"]
    (folder / "inner.py").write_text(INNER.format(4))
    assert run_program() == ["8.0", "0"]
