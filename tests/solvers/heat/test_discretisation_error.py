"""The estimated discretisation error of heat trajectories compared with the actual error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from solvers.contract import last_state
from solvers.heat import discretisation_error
from tests.support.heat_cases import heat, relative_error, sample_parameters

TIMES = np.linspace(0.0, 0.1, 6)
INCLUSIONS: dict[str, Any] = {"diffusivity": {"kind": "inclusions"}}
WALLS: dict[str, Any] = {
    "boundary": {"x": "dirichlet", "y": "neumann"},
    "boundary_values": {"x": [1.0, 3.0], "y": [0.5, 0.0]},
    "heaters": {"count": 1, "width": [0.1, 0.1]},
}


@pytest.mark.parametrize("resolution", [8, 16])
@pytest.mark.parametrize("changes", [{}, WALLS])
def test_the_estimate_is_the_error_compared_with_a_grid_nine_times_finer(
    resolution: int, changes: dict[str, Any]
) -> None:
    solver, fine_solver = (heat(**changes, resolution=count) for count in (resolution, 9 * resolution))
    parameters = sample_parameters(solver)
    state, truth = (
        last_state(grid_solver, grid_solver.prepare(parameters), TIMES)
        for grid_solver in (solver, fine_solver)
    )
    truth = truth[:, 4::9, 4::9]
    mean = np.mean(truth)
    error = solver.discretisation_error(parameters, TIMES)
    assert error.grid == pytest.approx(relative_error(state - mean, truth - mean), rel=0.1)
    assert error.time < 1e-4


def test_a_grid_that_is_too_large_for_a_finer_one_is_estimated_by_the_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    solver = heat(resolution=36)
    parameters = sample_parameters(solver)
    error = solver.discretisation_error(parameters, TIMES)
    monkeypatch.setattr(discretisation_error, "MAX_CELLS", 60**2)
    assert solver.discretisation_error(parameters, TIMES).grid == pytest.approx(error.grid, rel=0.1)


def test_the_error_of_declared_steps_and_tolerances_is_the_error_in_time() -> None:
    accurate_solver = heat(resolution=24, tolerance=1e-8)
    parameters = sample_parameters(accurate_solver)
    truth = last_state(accurate_solver, accurate_solver.prepare(parameters), TIMES[[0, -1]])
    for options in ({"scheme": "rkl2", "time_step": 0.1}, {"scheme": "rkl2", "tolerance": 0.1}):
        solver = heat(resolution=24, **options)
        state = last_state(solver, solver.prepare(parameters), TIMES[[0, -1]])
        error = solver.discretisation_error(parameters, TIMES[[0, -1]])
        expected_error = np.sqrt(np.mean((state - truth) ** 2)) / np.std(truth)
        assert error.time == pytest.approx(expected_error, rel=0.2)
        assert expected_error > 1e-4


def test_inclusions_narrower_than_a_cell_are_refused() -> None:
    with pytest.raises(ValueError, match=r"inclusion_radius=0.05 m is too small.*1 cells.*\[20, 20\]"):
        heat(**INCLUSIONS, resolution=19)
    assert heat(**INCLUSIONS, resolution=20)
