"""Compilation of the kernels of the solvers by numba, with a cache on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba

# Fused multiply-add is the only default fast-math option. Sums therefore have the same order on every
# machine.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract"}}


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return the decorator `njit` of numba, with a cache on disk if the folder is writable.

    With a read-only folder every process compiles the kernels. Invalid arithmetic gives inf and NaN.
    `options` override the defaults of this function.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            kernel = numba.njit(cache=True, **_OPTIONS | options)(function)
        except RuntimeError:
            return numba.njit(**_OPTIONS | options)(function)
        # numba detects changes in the file of the function, but not in the files of called functions.
        kernel._cache._cache_file._source_stamp = _sources_checksum()
        return kernel

    return decorate


@cache
def _sources_checksum() -> str:
    """Return a checksum of all source files of the solvers."""
    files = sorted(Path(__file__).parents[1].rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
