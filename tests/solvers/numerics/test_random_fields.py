"""Modes of random fields and the variances of their coefficients."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from solvers.numerics.random_fields import MAX_MODES, modes, standard_deviations, truncation_caution


@pytest.mark.parametrize("condition", ["periodic", "dirichlet", "neumann"])
def test_modes_are_orthonormal_and_their_field_has_the_given_variance(condition: str) -> None:
    x = (np.arange(400) + 0.5) / 400 * 0.7
    values = modes(condition, 0.7, 9, x)
    assert np.allclose(values @ values.T / 400, np.eye(9), atol=1e-12)
    deviation = standard_deviations([condition, "periodic"], [0.7, 1.0], 9, 0.1, 4.0)
    assert np.sum(deviation**2) == pytest.approx(1)
    assert deviation.max() < 1
    # The spectrum is a power law, so a doubled exponent squares the ratios.
    ratios = deviation / deviation[1, 1]
    steeper_deviation = standard_deviations([condition, "periodic"], [0.7, 1.0], 9, 0.1, 8.0)
    assert np.allclose(steeper_deviation / steeper_deviation[1, 1], ratios**2)


def test_a_caution_about_many_modes_allocates_nothing() -> None:
    """Four times 128 modes along each of three axes would need 6 GiB."""
    kinds, extent = ["neumann"] * 3, [1.0] * 3
    assert len(truncation_caution(kinds, extent, 16, 0.001, 2.0, group="initial")) == 1
    assert MAX_MODES < (4 * 128) ** 3
    tracemalloc.start()
    try:
        assert truncation_caution(kinds, extent, 128, 0.001, 2.0, group="initial") == []
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
