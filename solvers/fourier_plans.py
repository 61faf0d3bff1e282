"""Fourier transforms along one axis, planned for fixed arrays: FFTW for small grids, ducc0 for the rest.

Neither chooses its algorithm by timing, so equal input gives equal bytes on every run. No transform is
normalised: forward and back multiply by the number of points.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import ducc0
import numpy as np
import pyfftw

#: The longest axis that FFTW transforms; beyond it ducc0 is faster, without a call's cost that counts here.
LARGEST_FOR_FFTW = 64

Plan = Callable[[], object]


def complex_plan(source: np.ndarray, target: np.ndarray, axis: int, forward: bool, size: int) -> Plan:
    """Transforms complex `source` to complex `target`; `size` is the grid's longest axis."""
    if not source.size:
        return _nothing
    if size > LARGEST_FOR_FFTW:
        return partial(ducc0.fft.c2c, source, axes=(axis,), forward=forward, out=target)
    return _fftw(source, target, axis, forward)


def real_plan(source: np.ndarray, target: np.ndarray, size: int) -> Plan:
    """Transforms along the last axis: real to half-complex, or back, as the arrays are."""
    axis = source.ndim - 1
    forward = not np.iscomplexobj(source)
    if size <= LARGEST_FOR_FFTW:
        return _fftw(source, target, axis, forward)
    if forward:
        return partial(ducc0.fft.r2c, source, axes=(axis,), out=target)
    return partial(ducc0.fft.c2r, source, axes=(axis,), lastsize=target.shape[-1], forward=False, out=target)


def zeros(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """An array for a plan, aligned alike on every run."""
    array: np.ndarray = pyfftw.zeros_aligned(shape, dtype)
    return array


def _fftw(source: np.ndarray, target: np.ndarray, axis: int, forward: bool) -> Plan:
    direction = "FFTW_FORWARD" if forward else "FFTW_BACKWARD"
    plan = pyfftw.FFTW(source, target, axes=(axis,), direction=direction, flags=("FFTW_ESTIMATE",), threads=1)
    execute: Plan = plan.execute
    return execute


def _nothing() -> None:
    """The transform of an empty array."""
