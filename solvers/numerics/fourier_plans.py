"""Complex Fourier transforms along one axis, planned for fixed arrays: by FFTW or ducc0, whichever is faster.

Neither chooses its algorithm by timing, so equal input gives equal bytes on every run. No transform is
normalised: forward and back multiply by the number of points.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import ducc0
import numpy as np
import pyfftw

#: Up to this length FFTW is faster, by its small cost of a call; beyond it, for powers of two alone.
SHORT = 64

Plan = Callable[[], object]


def plan(source: np.ndarray, target: np.ndarray, axis: int, forward: bool) -> Plan:
    """Transforms `source` to `target`, which may be the same array, along an axis of both."""
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
    """A complex array for a plan, aligned alike on every run."""
    array: np.ndarray = pyfftw.zeros_aligned(shape, "complex128")
    return array


def _nothing() -> None:
    """The transform of an empty array."""
