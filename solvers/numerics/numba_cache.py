"""Compilation of the solvers' kernels by numba, with a cache on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba

# Fused multiply-add is the only allowed fast-math option: sums keep their order on every machine.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract"}}


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return numba's decorator `njit`, with a cache on disk where the folder can be written.

    A read-only installation compiles in every process. Arithmetic faults give inf and NaN. `options` override
    the defaults of `njit`.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            kernel = numba.njit(cache=True, **_OPTIONS | options)(function)
        except RuntimeError:
            return numba.njit(**_OPTIONS | options)(function)
        # numba checks the function's own file for changes, but not the files of the functions it calls.
        kernel._cache._cache_file._source_stamp = _sources_checksum()
        return kernel

    return decorate


@cache
def _sources_checksum() -> str:
    """Return a checksum of all source files of the solvers."""
    files = sorted(Path(__file__).parents[1].rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
