"""Random scalar parameters inside or outside their ranges."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simsurrogate.spec import Parameter
from solvers.numerics.parameter_sampling import draw


@given(
    low=st.floats(0, 10, allow_subnormal=False),
    width=st.floats(0, 10, allow_subnormal=False),
    seed=st.integers(0, 2**32),
    outside=st.booleans(),
)
def test_draws_lie_inside_or_outside_and_keep_the_sign(
    low: float, width: float, seed: int, outside: bool
) -> None:
    parameter = Parameter("p", "1", "a parameter", low, low + width)
    value = draw([parameter], np.random.default_rng(seed), outside)["p"]
    assert (parameter.low <= value <= parameter.high) is not outside
    assert value > 0 or low == 0
