"""What the walls and the heaters supply is all that changes the heat; bounds and symmetry are kept."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from solvers.heat import Heat
from tests.support.heat_cases import INSULATED, heat, sampled

SCHEMES: dict[str, dict[str, Any]] = {
    "exact": {"diffusivity": {"kind": "constant"}},
    "adi": {"scheme": "adi"},
    "rkl2": {"scheme": "rkl2"},
    "rkl2 declared": {"scheme": "rkl2", "time_step": 0.013},
    "inclusions": {"diffusivity": {"kind": "inclusions", "inclusion_radius": [0.2, 0.4]}},
    "euler": {"scheme": "euler"},
}
GRIDS: list[dict[str, Any]] = [
    {"extent": [1.0], "resolution": 20},
    {"extent": [1.0, 2.0], "resolution": [12, 10]},
    {"extent": [1.0, 2.0, 0.5], "resolution": [6, 7, 8]},
]
WALLS = [
    dict(zip("xyz", kinds, strict=True))
    for kinds in itertools.permutations(("dirichlet", "neumann", "periodic"))
]
VALUES = {"x": [3.0, -1.0], "y": [0.5, 0.7], "z": [-2.0, 1.0]}


def total_heat(solver: Heat, state: np.ndarray) -> float:
    return solver.invariants(state, {})["total_heat"]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("grid", GRIDS, ids=["1d", "2d", "3d"])
def test_heat_changes_by_what_walls_and_heaters_supply(grid: dict[str, Any], scheme: str) -> None:
    for boundary in WALLS:
        solver = heat(
            **grid,
            **SCHEMES[scheme],
            boundary=boundary,
            boundary_values=VALUES,
            initial={"modes": 5},
            heaters={"count": 2, "width": [0.15, 0.2]},
        )
        parameters = sampled(solver)
        start = solver.initial_state(parameters)
        end = solver.advance(start, parameters, 0.01, 0.09)
        supplied = solver.heat_supplied(start, parameters, 0.01, 0.09)
        scale = float(np.sum(np.abs(start))) * solver.grid.cell_volume + abs(supplied)
        assert abs(supplied) > 1e-3 * scale
        assert total_heat(solver, end) - total_heat(solver, start) == pytest.approx(
            supplied, abs=1e-13 * scale
        ), boundary


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", ["periodic", "neumann"])
def test_an_insulated_box_keeps_its_heat(kind: str, scheme: str) -> None:
    solver = heat(resolution=16, boundary=dict.fromkeys("xyz", kind), **SCHEMES[scheme])
    parameters = sampled(solver)
    start = solver.initial_state(parameters) + 1.0
    end = solver.advance(start, parameters, 0.0, 0.5)
    assert total_heat(solver, end) == pytest.approx(total_heat(solver, start), rel=1e-13)


@pytest.mark.parametrize("scheme", ["exact", "adi", "rkl2"])
def test_known_fluxes_and_heaters_add_up(scheme: str) -> None:
    # The heat that fluxes bring is flux x area x time, and a heater's its pattern x the time it is on.
    solver = heat(
        extent=[1.0, 2.0],
        resolution=16,
        boundary=INSULATED,
        boundary_values={"x": [0.3, -0.1], "y": [0.2, 0.4]},
        heaters={"count": 1, "width": [0.1, 0.2]},
        **SCHEMES[scheme],
    )
    parameters = sampled(solver) | {"heater_1_start": 0.05, "heater_1_duration": 0.03}
    start = solver.initial_state(parameters)
    end = solver.advance(start, parameters, 0.0, 0.2)
    heater = float(np.sum(solver.coefficients(parameters)[-1])) * solver.grid.cell_volume
    expected = (0.3 - 0.1) * 2.0 * 0.2 + (0.2 + 0.4) * 1.0 * 0.2 + heater * 0.03
    assert total_heat(solver, end) - total_heat(solver, start) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_temperatures_stay_between_the_extremes(scheme: str) -> None:
    solver = heat(resolution=24, boundary={"x": "dirichlet"}, **SCHEMES[scheme])
    parameters = sampled(solver)
    state = solver.initial_state(parameters)
    for step in range(10):
        low, high = min(state.min(), 0.0), max(state.max(), 0.0)
        state = solver.advance(state, parameters, 0.02 * step, 0.02)
        slack = 1e-13 if scheme in {"exact", "euler"} else 1e-4 * (high - low)
        assert low - slack <= state.min() <= state.max() <= high + slack


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("scheme", ["exact", "adi", "rkl2", "euler"])
def test_a_mirrored_problem_has_the_mirrored_solution(scheme: str, axis: int) -> None:
    solver = heat(resolution=[12, 10], boundary=INSULATED, **SCHEMES[scheme])
    parameters = sampled(solver)
    mirrored = dict(parameters)
    if "diffusivity_coefficients" in parameters:  # cosines: those of odd number change their sign
        signs = np.expand_dims((-1.0) ** np.arange(16), 1 - axis)
        mirrored["diffusivity_coefficients"] = parameters["diffusivity_coefficients"] * signs
    start = solver.initial_state(parameters)
    end = solver.advance(start, parameters, 0.0, 0.1)
    other = solver.advance(np.flip(start, 1 + axis).copy(), mirrored, 0.0, 0.1)
    assert np.allclose(np.flip(other, 1 + axis), end, rtol=0, atol=1e-12)
