"""Plans of complex Fourier transforms along one axis of fixed arrays, by the faster of FFTW and ducc0.

The plans do not depend on timing. Equal input therefore gives equal bytes in every run. The transforms are
not normalised: a forward and a backward transform together multiply the array by the number of points.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import ducc0
import numpy as np
import pyfftw

#: The largest length for which FFTW is always faster. Above this length FFTW is faster only for powers of
#: two.
SHORT_LENGTH = 64

Plan = Callable[[], object]


def plan(source: np.ndarray, target: np.ndarray, axis: int, forward: bool) -> Plan:
    """Return a function that transforms `source` to `target` along an axis, possibly in place."""
    if not source.size:
        return _transform_nothing
    length = source.shape[axis]
    if length > SHORT_LENGTH and length & (length - 1):
        return partial(ducc0.fft.c2c, source, axes=(axis,), forward=forward, out=target)
    direction = "FFTW_FORWARD" if forward else "FFTW_BACKWARD"
    execute: Plan = pyfftw.FFTW(
        source, target, axes=(axis,), direction=direction, flags=("FFTW_ESTIMATE",), threads=1
    ).execute
    return execute


def zeros(shape: tuple[int, ...]) -> np.ndarray:
    """Return a complex array of zeros for a plan, with the same alignment in every run."""
    array: np.ndarray = pyfftw.zeros_aligned(shape, "complex128")
    return array


def _transform_nothing() -> None:
    """Do nothing: the transform of an empty array."""
