"""How the solvers' kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
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
            return numba.njit(cache=True, **_OPTIONS | options)(function)
        except RuntimeError:
            return numba.njit(**_OPTIONS | options)(function)

    return decorate
