"""Options of heat that are accepted with a caution, or refused for a duration."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from simsurrogate.errors import UserError
from tests.support.heat_cases import heat, prepare_trajectory


def test_the_shipped_options_have_no_caution() -> None:
    assert not list(heat().cautions(0.1))
    assert not list(heat(heaters={"count": 2}).cautions(0.1))


def test_walls_that_meet_with_different_temperatures_are_named_with_the_difference() -> None:
    walls: dict[str, Any] = {
        "boundary": {"x": "dirichlet", "y": "dirichlet"},
        "boundary_values": {"x": [1000.0, 1000.0], "y": [0.0, 0.0]},
    }
    solver = heat(**walls)
    (caution,) = solver.cautions(0.1)
    assert "differ by up to 500 K from the temperature of a wall" in caution
    # The mean of both profiles is 500 K everywhere, next to the walls of 1000 K and of 0 K.
    state = prepare_trajectory(solver, amplitude=0.0).initial_state
    assert np.allclose(state, 500.0)
    assert not list(
        heat(boundary=walls["boundary"], boundary_values={"x": [5.0, 5.0], "y": [5.0, 5.0]}).cautions(0.1)
    )
    assert not list(heat(boundary={"x": "dirichlet"}, boundary_values={"x": [0.0, 1000.0]}).cautions(0.1))


@pytest.mark.parametrize("group", ["initial", "diffusivity"])
def test_a_truncated_spectrum_is_named_with_its_share_of_the_variance(group: str) -> None:
    (caution,) = heat(**{group: {"correlation_length": 0.005}}).cautions(0.1)
    assert f"solver.{group}.modes=16 hold at most 27 % of the variance" in caution


def test_heaters_that_start_after_the_end_are_refused_with_their_share() -> None:
    solver = heat(heaters={"count": 1, "start": [0.05, 0.25]})
    assert not list(solver.cautions(0.3))
    with pytest.raises(
        UserError, match=r"heaters.start=\[0.05, 0.25\] s lets 75 % of the heaters .*HIGH below 0.1"
    ):
        list(solver.cautions(0.1))


@pytest.mark.parametrize("group", ["initial", "diffusivity"])
def test_a_solver_of_many_modes_allocates_no_spectrum_for_its_caution(group: str) -> None:
    # The spectrum of 4 x 64 modes along each axis takes 128 MiB.
    tracemalloc.start()
    try:
        solver = heat(extent=[1.0, 1.0, 1.0], resolution=32, **{group: {"modes": 64}})
        assert not list(solver.cautions(0.1))
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()
