"""The time of compilations is no part of the cost of the data."""

from __future__ import annotations

import time

import numba
import numpy as np
import pytest

from pipeline.generation.compilation import compile_clock


def test_the_clock_counts_compilations_alone() -> None:
    kernel = numba.njit(lambda values: values.sum() + 1)
    with compile_clock() as compile_seconds:
        time.sleep(0.05)
        assert compile_seconds() == 0
        start = time.perf_counter()
        kernel(np.ones(3))
        elapsed = time.perf_counter() - start
        assert compile_seconds() == pytest.approx(elapsed, rel=0.3)
        compiled = compile_seconds()
        kernel(np.ones(3))
        assert compile_seconds() == compiled
