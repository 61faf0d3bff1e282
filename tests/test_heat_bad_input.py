"""What the heat solver refuses, with the numbers that help."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from solvers.contract import DivergedError
from tests.heat_cases import heat, sampled


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"resolution": [64, 64, 64]},
            r"resolution=\[64, 64, 64\] has 3 numbers and extent=\[1.0, 1.0\] has 2",
        ),
        ({"resolution": 1}, r"solver.resolution.*greater than or equal to 2"),
        ({"extent": []}, r"solver.extent=\[\].*at least 1 item"),
        ({"extent": [1.0, -1.0]}, r"solver.extent.1=-1.0.*greater than 0"),
        ({"boundary": {"x": "open"}}, r"solver.boundary.x='open'.*'periodic', 'dirichlet' or 'neumann'"),
        ({"boundary": {"w": "periodic"}}, r"solver.boundary.w: there is no such key"),
        ({"boundary_values": {"x": [1.0]}}, r"solver.boundary_values.x.1: is required"),
        (
            {"diffusivity": {"range": [0.3, 0.1]}},
            r"diffusivity.range=\[0.3, 0.1\]: the lower end comes first",
        ),
        ({"diffusivity": {"range": [0.0, 0.1]}}, r"solver.diffusivity.range.0=0.0.*greater than 0"),
        ({"diffusivity": {"kind": "linear"}}, r"solver.diffusivity.kind='linear'.*'constant', 'lognormal'"),
        ({"diffusivity": {"contrasts": [1, 2]}}, r"solver.diffusivity.contrasts.*did you mean 'contrast'"),
        ({"heaters": {"count": -1}}, r"solver.heaters.count=-1.*greater than or equal to 0"),
        ({"initial": {"amplitude": ["hot", 1]}}, r"solver.initial.amplitude.0='hot'.*valid number"),
        ({"scheme": "exact"}, r"scheme=exact needs diffusivity.kind=constant; use automatic or rkl2"),
        ({"time_step": 0.0}, r"solver.time_step=0.0.*greater than 0"),
        (
            {"time_step": 0.1, "diffusivity": {"kind": "constant"}},
            r"time_step=0.1 s has no use: the exact scheme",
        ),
        ({"tolerance": 0}, r"solver.tolerance=0.*greater than 0"),
    ],
)
def test_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        heat(**changes)


def test_a_step_of_euler_over_the_limit_is_refused_with_the_limit() -> None:
    # h = 1/64 m, k = 0.3 m^2/s: 1 / (2 k (64^2 + 64^2)) = 2.03e-4 s.
    constant = {"kind": "constant"}
    with pytest.raises(
        ValueError, match=r"time_step=0.0003 s exceeds the stable limit 0.000203 s.*0.0156, 0.0156 m"
    ):
        heat(scheme="euler", time_step=3e-4, diffusivity=constant)
    solver = heat(scheme="euler", time_step=2e-4, diffusivity=constant)
    parameters = sampled(solver)
    assert np.all(np.isfinite(solver.advance(solver.initial_state(parameters), parameters, 0.0, 0.01)))
    # A trajectory beyond the declared range cannot be seen before it is drawn.
    parameters["diffusivity"] = 1.0
    with pytest.raises(DivergedError, match=r"0.0002 s exceeds the stable limit 6.1e-05 s"):
        solver.advance(solver.initial_state(parameters), parameters, 0.0, 0.01)


@pytest.mark.parametrize("name", ["log_deviation", "amplitude"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_overflow_is_a_diverged_trajectory(name: str) -> None:
    solver = heat(resolution=8)
    parameters = sampled(solver) | {name: 1e308}
    with pytest.raises(DivergedError):
        solver.advance(solver.initial_state(parameters), parameters, 0.0, 0.1)
