"""Random scalar parameters inside or outside their ranges."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simsurrogate.errors import UserError
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


def test_one_parameter_or_all_parameters_are_outside() -> None:
    # The second range starts at 0.
    parameters = [Parameter(name, "1", "", low, 2.0) for name, low in (("a", 1.0), ("b", 0.0), ("c", -1.0))]
    rng = np.random.default_rng(0)
    outside_names = Counter(
        "".join(
            parameter.name
            for parameter in parameters
            if not parameter.low <= sample[parameter.name] <= parameter.high
        )
        for sample in (draw(parameters, rng, outside=True) for _ in range(400))
    )
    assert set(outside_names) == {"a", "b", "c", "abc"}
    # Each case has the expectation 100 and the standard deviation 8.7.
    assert min(outside_names.values()) > 65


def test_a_solver_without_parameters_has_no_outside() -> None:
    assert draw([], np.random.default_rng(0), outside=False) == {}
    with pytest.raises(UserError, match=r"no scalar parameters.*Type samples.test_extrapolation=0"):
        draw([], np.random.default_rng(0), outside=True)
