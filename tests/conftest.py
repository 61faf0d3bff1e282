"""Distribution of the tests over workers, and the environment of all processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import reliability_table
from tests.support.launching import remove_folders_of_dead_launchers

# Three workers share two cores, and the arrays of the tests are too small for threads. The variables have an
# effect only before the import of numpy and torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")
# Hundreds of processes import the same modules; without bytecode each process would compile all of them.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_configure(config: pytest.Config) -> None:
    """Compile the kernels of the solvers once, before all workers and their ranks would compile them."""
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        command = [sys.executable, "-m", "tests.support.compile_kernels"]
        subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, check=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of Slurm first, which mostly wait, and then the long tests of this folder."""
    items.sort(key=lambda item: ("/slurm/" not in item.nodeid, item.path.parent != Path(__file__).parent))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a file on one worker, and all tests of Slurm on one worker.

    The tests of a file share fixtures. The workers receive the files in the order of the collection.
    """
    from xdist.scheduler import LoadScopeScheduling

    class FileScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "slurm" if "/slurm/" in file else file

    config.option.loadscopereorder = False
    return FileScheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Record the row of docs/reliability.md that a test of a fault stands for."""
    if call.when == "call":
        reliability_table.record_row(item, call.duration)


@pytest.fixture(autouse=True)
def _no_folders_of_dead_launchers() -> Iterator[None]:
    yield
    remove_folders_of_dead_launchers()
