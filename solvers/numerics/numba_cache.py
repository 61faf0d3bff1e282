"""How the solvers' kernels are compiled."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba

# Fused multiply-add is the one liberty: sums keep their order on every machine.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract"}}


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """numba.njit with a cache on disk where there is a folder for it (a read-only install may have none).

    Arithmetic faults give inf and NaN; `options` go to numba, over these defaults.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            kernel = numba.njit(cache=True, **_OPTIONS | options)(function)
        except RuntimeError:
            return numba.njit(**_OPTIONS | options)(function)
        # By itself numba looks for changes in the function's own file, not in those of what it calls.
        kernel._cache._cache_file._source_stamp = _sources()
        return kernel

    return decorate


@cache
def _sources() -> str:
    """A checksum of every file from which a kernel may be compiled."""
    files = sorted(Path(__file__).parents[1].rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
