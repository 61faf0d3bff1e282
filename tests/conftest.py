"""How several workers share out the tests."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The tests of a file, which have fixtures in common, stay together, and so do all on the one Slurm.

    Files go out in their order: Slurm's come first, which mostly wait, and so have others beside them.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "slurm" if "/slurm/" in file else file

    config.option.loadscopereorder = False
    return ByFile(config, log)
