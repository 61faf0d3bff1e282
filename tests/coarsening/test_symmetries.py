"""The symmetries of coarse data: averages of mapped cells are mapped averages, directional means included."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.coarsening.description import stored_coefficients
from pipeline.coarsening.means import arithmetic_mean
from pipeline.coarsening.solver import coarsened
from pipeline.training.batches.composition import powers
from simsurrogate.symmetries import CellMap
from solvers.contract import Solver
from tests.support import symmetry_cases
from tests.support.solver_cases import build_shipped

COARSEN = 4
INCLUSIONS = {"kind": "inclusions", "inclusion_radius": [0.15, 0.2], "contrast": [100.0, 1000.0]}


@pytest.fixture(scope="module", params=[[COARSEN, COARSEN], [COARSEN, 2]], ids=["squares", "rectangles"])
def solvers(request: pytest.FixtureRequest) -> tuple[Solver, Solver]:
    """Return a solver, and the same solver with coarse frames."""
    fine = build_shipped("heat", resolution=24, scheme="rkl2", diffusivity=INCLUSIONS, initial={"modes": 5})
    return fine, coarsened(fine, {"coarsen": request.param})


def test_the_coarse_maps_are_those_that_keep_stored_cells_whole(solvers: tuple[Solver, Solver]) -> None:
    fine, coarse = solvers
    names = [symmetry.name for symmetry in fine.spec.symmetries]
    assert names == ["shift_x", "shift_y", "reflection_x", "reflection_y", "exchange_xy", "sign"]
    if coarse.spec.shape[0] != coarse.spec.shape[1]:
        names.remove("exchange_xy")
    assert [symmetry.name for symmetry in coarse.spec.symmetries] == names


def test_coarse_maps_agree_with_maps_of_the_solvers_cells(solvers: tuple[Solver, Solver]) -> None:
    fine, coarse = solvers
    coarsening = coarse.spec.coarsening
    assert coarsening is not None
    fine_maps = {symmetry.name: symmetry for symmetry in fine.spec.symmetries}
    trajectory = fine.prepare(fine.sample(np.random.default_rng(2)))
    (state,) = trajectory.solve(np.zeros(1))
    assert trajectory.coefficient_fields is not None
    conductivity = trajectory.coefficient_fields
    means = [stored.mean for stored in stored_coefficients(fine.spec, coarsening)]

    def averages(state: np.ndarray, conductivity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        fields = np.concatenate([mean(conductivity) for mean in means if mean])
        return arithmetic_mean(state, coarsening.cells), fields

    for coarse_map in coarse.spec.symmetries:
        if not isinstance(coarse_map, CellMap):
            continue
        # A shift by one stored cell is a shift by all cells of the solver in a stored cell.
        power = max(
            (coarsening.cells[axis] for axis, cells in enumerate(coarse_map.cells) if cells), default=1
        )
        is_shift = coarse_map.name.startswith("shift")
        moved = window(fine, fine_maps[coarse_map.name], power if is_shift else 1, state, conductivity)
        expected = averages(*moved)
        result = window(coarse, coarse_map, 1, *averages(state, conductivity))
        for values, expected_values in zip(result, expected, strict=True):
            np.testing.assert_allclose(values, expected_values, rtol=1e-12, atol=1e-12)
        assert np.abs(result[1] - averages(state, conductivity)[1]).max() > 0.1


def window(
    solver: Solver, cell_map: CellMap, power: int, state: np.ndarray, fields: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return a state and coefficient fields after a power of a map."""
    order = len(powers(cell_map, solver.spec.shape)[0])
    batch = symmetry_cases.batch_of(state[None], fields, np.zeros(1))
    frames, moved_fields = symmetry_cases.transformed_window(
        solver, batch, {cell_map: np.array([[(power + 0.5) / order]])}
    )
    return frames[0], moved_fields
