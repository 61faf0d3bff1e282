"""The estimated discretisation error of heat trajectories compared with the actual error."""

from __future__ import annotations

import math
from typing import Any
from unittest import mock

import numpy as np
import pytest
from mpi4py import MPI

from solvers.contract import DiscretisationError, Parameters, last_state
from solvers.heat import Heat, discretisation_error
from solvers.heat.trajectory import HeatTrajectory
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
    error = estimate(solver)
    assert error.grid == pytest.approx(relative_error(state - mean, truth - mean), rel=0.1)
    assert error.time < 1e-4


def test_a_grid_that_is_too_large_for_a_finer_one_is_estimated_by_the_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    solver = heat(resolution=36)
    error = estimate(solver)
    monkeypatch.setattr(discretisation_error, "ENOUGH_CELLS", 60**2)
    assert estimate(solver).grid == pytest.approx(error.grid, rel=0.1)


def test_inclusions_that_need_a_finer_pair_of_grids_get_the_smallest_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Inclusions of radius 0.05 m need 20 cells, and a fine grid of 60 x 60 cells.
    solver = heat(**INCLUSIONS, resolution=40)
    monkeypatch.setattr(discretisation_error, "ENOUGH_CELLS", 30**2)
    grids = record_grids(monkeypatch)
    assert 0 < estimate(solver).grid < 1
    assert max(math.prod(cells) for cells in grids) == 60**2


def test_no_grid_of_the_estimate_is_larger_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    solver = heat(**INCLUSIONS, resolution=40)
    parameters = sample_parameters(solver)
    grids = record_grids(monkeypatch)
    monkeypatch.setattr(discretisation_error, "ENOUGH_CELLS", 15**2)
    monkeypatch.setattr(discretisation_error, "MAX_CELLS", 30**2)
    assert solver.discretisation_error(parameters, TIMES) is None
    assert not grids
    # A long narrow grid keeps two cells along its short axis.
    assert heat(resolution=[20000, 16]).discretisation_error(parameters, TIMES) is None


def test_more_ranks_than_rows_of_the_coarse_grid_do_not_change_the_estimate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(discretisation_error, "ENOUGH_CELLS", 30**2)
    options: dict[str, Any] = {"resolution": 36, "scheme": "rkl2"}
    error = estimate(heat(**options))
    sixteen_ranks = mock.Mock(wraps=MPI.COMM_SELF, size=16, rank=3)
    assert estimate(heat(sixteen_ranks, **options)) == error


def test_the_error_of_declared_steps_and_tolerances_is_the_error_in_time() -> None:
    accurate_solver = heat(resolution=24, tolerance=1e-8)
    parameters = sample_parameters(accurate_solver)
    truth = last_state(accurate_solver, accurate_solver.prepare(parameters), TIMES[[0, -1]])
    for options in (
        {"scheme": "rkl2", "time_step": 0.1},
        {"scheme": "adi", "time_step": 0.1},
        {"scheme": "rkl2", "tolerance": 0.1},
    ):
        solver = heat(resolution=24, **options)
        state = last_state(solver, solver.prepare(parameters), TIMES[[0, -1]])
        error = estimate(solver, TIMES[[0, -1]])
        expected_error = np.sqrt(np.mean((state - truth) ** 2)) / np.std(truth)
        assert error.time == pytest.approx(expected_error, rel=0.2)
        assert expected_error > 1e-4


@pytest.mark.parametrize("scheme", ["adi", "rkl2"])
@pytest.mark.parametrize(
    "changes",
    [
        {"resolution": 128},
        {"resolution": 64, "diffusivity": {"kind": "inclusions", "contrast": [100.0, 100.0]}},
        {"resolution": 16, "extent": [1.0, 1.0, 1.0]},
    ],
)
def test_the_default_tolerance_keeps_the_error_in_time_below_that_of_the_grid(
    scheme: str, changes: dict[str, Any]
) -> None:
    error = estimate(heat(**changes, scheme=scheme))
    assert error.time < max(0.1 * error.grid, 1e-4)


def test_inclusions_narrower_than_a_cell_are_refused() -> None:
    with pytest.raises(ValueError, match=r"inclusion_radius=0.05 m is too small.*1 cells.*\[20, 20\]"):
        heat(**INCLUSIONS, resolution=19)
    assert heat(**INCLUSIONS, resolution=20)


def estimate(solver: Heat, times: np.ndarray = TIMES) -> DiscretisationError:
    error = solver.discretisation_error(sample_parameters(solver), times)
    assert error is not None
    return error


def record_grids(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Return a list that receives the cells of every solver that is solved from now on."""
    grids: list[tuple[int, ...]] = []
    prepare = Heat.prepare

    def record(solver: Heat, parameters: Parameters) -> HeatTrajectory:
        grids.append(solver.grid.resolution)
        return prepare(solver, parameters)

    monkeypatch.setattr(Heat, "prepare", record)
    return grids
