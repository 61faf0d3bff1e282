"""The distribution of tests over workers, and one thread for each process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

# Two workers share two cores, and the arrays of the tests are too small to gain from threads. Set before
# numpy and torch are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of Slurm first, which wait most of their time, and then the long tests of this folder."""
    items.sort(key=lambda item: ("/slurm/" not in item.nodeid, item.path.parent != Path(__file__).parent))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a file on one worker, as they share fixtures, and all tests of Slurm on one worker.

    Files are handed out in the order of the collection.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "slurm" if "/slurm/" in file else file

    config.option.loadscopereorder = False
    return ByFile(config, log)
