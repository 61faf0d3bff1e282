"""Complex Fourier transforms along one axis, planned for fixed arrays, by FFTW or ducc0, whichever is faster.

Neither library chooses its algorithm by timing, so equal input gives equal bytes on every run. The transforms
are not normalised: forward and backward together multiply by the number of points.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import ducc0
import numpy as np
import pyfftw

#: FFTW has cheap calls and is faster up to this length. For longer transforms it is faster only for
#: powers of two.
SHORT = 64

Plan = Callable[[], object]


def plan(source: np.ndarray, target: np.ndarray, axis: int, forward: bool) -> Plan:
    """Return a function that transforms `source` to `target` along an axis; both may be one array."""
    if not source.size:
        return _nothing
    length = source.shape[axis]
    if length > SHORT and length & (length - 1):
        return partial(ducc0.fft.c2c, source, axes=(axis,), forward=forward, out=target)
    direction = "FFTW_FORWARD" if forward else "FFTW_BACKWARD"
    execute: Plan = pyfftw.FFTW(
        source, target, axes=(axis,), direction=direction, flags=("FFTW_ESTIMATE",), threads=1
    ).execute
    return execute


def zeros(shape: tuple[int, ...]) -> np.ndarray:
    """Return a complex array of zeros for a plan; its alignment is the same on every run."""
    array: np.ndarray = pyfftw.zeros_aligned(shape, "complex128")
    return array


def _nothing() -> None:
    """Transform an empty array."""
