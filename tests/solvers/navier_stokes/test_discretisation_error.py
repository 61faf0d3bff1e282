"""The estimated discretisation error of flows compared with the actual error."""

from __future__ import annotations

import numpy as np
import pytest

from solvers.contract import last_state
from tests.support.heat_cases import relative_error
from tests.support.navier_stokes_cases import LIVELY_FLOW, NO_FORCING, flow, sample_parameters


def test_the_estimate_is_the_error_compared_with_a_grid_three_times_finer() -> None:
    times = np.array([0.0, 1.0, 2.0])
    options = LIVELY_FLOW | NO_FORCING | {"viscosity": [2e-3, 2e-3], "hyperviscosity": {"range": [0.0, 0.0]}}
    solver, fine_solver = (flow(**options | {"resolution": cells}) for cells in ([32, 24], [96, 72]))
    parameters = sample_parameters(solver)
    state, truth = (
        last_state(grid_solver, grid_solver.prepare(parameters), times)
        for grid_solver in (solver, fine_solver)
    )
    errors = [relative_error(state[channel], truth[channel, 1::3, 1::3]) for channel in (0, 3)]
    error = solver.discretisation_error(parameters, times)
    assert 2e-4 < max(errors) < 0.2
    assert error.grid == pytest.approx(max(errors), rel=0.2)
    assert error.time < 1e-4


def test_the_error_of_a_declared_step_is_the_error_in_time() -> None:
    solver = flow(**LIVELY_FLOW, **NO_FORCING, time_step=0.04)
    error = solver.discretisation_error(sample_parameters(solver), np.array([0.0, 0.5]))
    assert 1e-4 < error.time < 0.2
