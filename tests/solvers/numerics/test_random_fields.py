"""Modes of random fields and the variances of their coefficients."""

from __future__ import annotations

import numpy as np
import pytest

from solvers.numerics.random_fields import modes, standard_deviations


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
