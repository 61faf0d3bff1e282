"""Heat budget of walls and heaters, and bounds and symmetry of temperatures."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from tests.support.heat_cases import INSULATED_WALLS, final_state, heat, prepare_trajectory, sample_parameters

SCHEMES: dict[str, dict[str, Any]] = {
    "exact": {"diffusivity": {"kind": "constant"}},
    "adi": {"scheme": "adi"},
    "rkl2": {"scheme": "rkl2"},
    "rkl2 declared": {"scheme": "rkl2", "time_step": 0.013},
    "inclusions": {"diffusivity": {"kind": "inclusions", "inclusion_radius": [0.3, 0.4]}},
    "euler": {"scheme": "euler"},
}
GRIDS: list[dict[str, Any]] = [
    {"extent": [1.0], "resolution": 20},
    {"extent": [1.0, 2.0], "resolution": [12, 10]},
    {"extent": [1.0, 2.0, 0.5], "resolution": [6, 7, 8]},
]
WALLS = [
    dict(zip("xyz", conditions, strict=True))
    for conditions in itertools.permutations(("dirichlet", "neumann", "periodic"))
]
VALUES = {"x": [3.0, -1.0], "y": [0.5, 0.7], "z": [-2.0, 1.0]}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("grid", GRIDS, ids=["1d", "2d", "3d"])
def test_the_budget_equals_the_change_of_heat(grid: dict[str, Any], scheme: str) -> None:
    for boundary in WALLS:
        solver = heat(
            **grid,
            **SCHEMES[scheme],
            boundary=boundary,
            boundary_values=VALUES,
            initial={"modes": 5},
            heaters={"count": 2, "width": [0.15, 0.2]},
        )
        trajectory = prepare_trajectory(solver)
        start_state = trajectory.initial_state
        end_state = trajectory.advance(start_state, 0.01, 0.09)
        budget = trajectory.budget(start_state, 0.01, 0.09)
        invariants_before, invariants_after = (
            trajectory.invariants(start_state),
            trajectory.invariants(end_state),
        )
        assert list(budget) == list(invariants_after) == ["total_heat"]
        supply = budget["total_heat"]
        scale = float(np.sum(np.abs(start_state))) * solver.grid.cell_volume + abs(supply)
        assert abs(supply) > 1e-3 * scale
        assert invariants_after["total_heat"] - invariants_before["total_heat"] == pytest.approx(
            supply, abs=1e-13 * scale
        ), boundary


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("condition", ["periodic", "neumann"])
def test_an_insulated_box_keeps_its_heat(condition: str, scheme: str) -> None:
    solver = heat(resolution=16, boundary=dict.fromkeys("xyz", condition), **SCHEMES[scheme])
    trajectory = prepare_trajectory(solver)
    start_state = trajectory.initial_state + 1.0
    end_state = trajectory.advance(start_state, 0.0, 0.5)
    invariants_before, invariants_after = trajectory.invariants(start_state), trajectory.invariants(end_state)
    assert invariants_after["total_heat"] == pytest.approx(invariants_before["total_heat"], rel=1e-13)


@pytest.mark.parametrize("scheme", ["exact", "adi", "rkl2"])
def test_the_budget_equals_known_fluxes_and_heaters(scheme: str) -> None:
    # Fluxes supply flux x area x time. A heater supplies its pattern x the time for which the heater is on.
    solver = heat(
        extent=[1.0, 2.0],
        resolution=16,
        boundary=INSULATED_WALLS,
        boundary_values={"x": [0.3, -0.1], "y": [0.2, 0.4]},
        heaters={"count": 1, "width": [0.1, 0.2]},
        **SCHEMES[scheme],
    )
    trajectory = prepare_trajectory(solver, heater_1_start=0.05, heater_1_duration=0.03)
    heater_power = float(np.sum(trajectory.coefficient_fields[-1])) * solver.grid.cell_volume
    expected = (0.3 - 0.1) * 2.0 * 0.2 + (0.2 + 0.4) * 1.0 * 0.2 + heater_power * 0.03
    heat_before = trajectory.invariants(trajectory.initial_state)["total_heat"]
    heat_after = trajectory.invariants(final_state(trajectory, 0.2))["total_heat"]
    assert heat_after - heat_before == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_temperatures_stay_between_the_extremes(scheme: str) -> None:
    trajectory = prepare_trajectory(heat(resolution=24, boundary={"x": "dirichlet"}, **SCHEMES[scheme]))
    state = trajectory.initial_state
    for step in range(10):
        low, high = min(state.min(), 0.0), max(state.max(), 0.0)
        state = trajectory.advance(state, 0.02 * step, 0.02)
        tolerance = 1e-13 if scheme in {"exact", "euler"} else 1e-4 * (high - low)
        assert low - tolerance <= state.min() <= state.max() <= high + tolerance


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("scheme", ["exact", "adi", "rkl2", "euler"])
def test_a_mirrored_problem_has_the_mirrored_solution(scheme: str, axis: int) -> None:
    solver = heat(resolution=[12, 10], boundary=INSULATED_WALLS, **SCHEMES[scheme])
    parameters = sample_parameters(solver)
    mirrored_parameters = dict(parameters)
    if "diffusivity_coefficients" in parameters:  # a mirror flips the sign of odd cosines
        signs = np.expand_dims((-1.0) ** np.arange(16), 1 - axis)
        mirrored_parameters["diffusivity_coefficients"] = parameters["diffusivity_coefficients"] * signs
    trajectory = solver.prepare(parameters)
    end_state = final_state(trajectory, 0.1)
    mirrored_start = np.flip(trajectory.initial_state, 1 + axis).copy()
    mirrored_end = solver.prepare(mirrored_parameters).advance(mirrored_start, 0.0, 0.1)
    assert np.allclose(np.flip(mirrored_end, 1 + axis), end_state, rtol=0, atol=1e-12)
