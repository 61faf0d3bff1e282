"""Declared method, order in time and time scale of the heat solver.

The tests of each scheme and of the contract compare the declared orders with observed orders.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.support.heat_cases import heat, prepare_trajectory


@pytest.mark.parametrize(
    ("changes", "method", "order_in_time"),
    [
        ({"diffusivity": {"kind": "constant"}}, "exact propagator", math.inf),
        ({}, "alternating directions of order 2", 2),
        ({"diffusivity": {"kind": "inclusions"}}, "super-time-stepping RKL2", 2),
        ({"scheme": "adi", "diffusivity": {"kind": "constant"}}, "alternating directions", 2),
        ({"time_step": 0.01}, "super-time-stepping RKL2", 2),
        ({"scheme": "rkl2"}, "super-time-stepping RKL2", 2),
        ({"scheme": "euler"}, "forward Euler of order 1", 1),
    ],
)
def test_the_method_follows_from_the_options(
    changes: dict[str, Any], method: str, order_in_time: float
) -> None:
    solver = heat(**changes)
    assert method in solver.method
    assert solver.order_in_time == order_in_time


@pytest.mark.parametrize("condition", ["periodic", "dirichlet", "neumann"])
def test_the_time_scale_is_the_decay_time_of_the_longest_wave(condition: str) -> None:
    solver = heat(
        extent=[2.0],
        resolution=64,
        boundary={"x": condition},
        diffusivity={"kind": "constant", "range": [0.1, 0.4]},
    )
    trajectory = prepare_trajectory(solver, diffusivity=0.2)  # the geometric mean of the range
    x = (np.arange(64) + 0.5) / 64
    half_waves = 2 if condition == "periodic" else 1
    wave = (np.cos if condition == "neumann" else np.sin)(half_waves * np.pi * x)
    end_state = trajectory.advance(wave[None], 0.0, solver.time_scale)
    assert np.allclose(end_state[0], wave / math.e, rtol=0, atol=1e-3)
