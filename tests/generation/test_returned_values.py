"""Wrong return values of a solver: an error that names the file, and no data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from solvers.heat.trajectory import HeatTrajectory
from solvers.nbody import NBody
from solvers.returned_values import check_shape
from tests.support.in_process import generate_in_process

HEAT = (
    "solver=heat",
    "solver.resolution=16",
    "storage.max_error=0.2",
    "samples={train: 2, valid: 1, test: 1}",
)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (
            {},
            r"trajectory\.py: HeatTrajectory returns the invariants \[\]\. Its spec .* \['total_heat'\]",
        ),
        ({"energy": 1.0}, r"returns the invariants \['energy'\]\."),
        (None, r"returns the invariants NoneType\."),
        (
            {"total_heat": np.ones(16)},
            r"returns the invariant 'total_heat' of shape \(16,\)\. One number for each state",
        ),
    ],
)
def test_wrong_invariants_name_the_file_of_the_solver(
    returned: object, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HeatTrajectory, "invariants", lambda self, state: returned)
    with pytest.raises(TypeError, match=message):
        generate_in_process(tmp_path, *HEAT)
    assert not list(tmp_path.rglob("*.hdf5"))


def test_wrong_invariants_of_a_batch_name_the_file_of_the_solver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    solve_batch = NBody.solve_batch

    def without_invariants(self: NBody, *arguments: object) -> object:
        batch = solve_batch(self, *arguments)  # type: ignore[arg-type]
        batch.invariants.clear()
        return batch

    monkeypatch.setattr(NBody, "solve_batch", without_invariants)
    with pytest.raises(TypeError, match=r"solver\.py: NBody returns the invariants \[\]\."):
        generate_in_process(tmp_path, "experiment=two_body", "samples={train: 2, valid: 1, test: 1}")


def test_a_state_without_a_shape_names_the_file_and_the_type() -> None:
    with pytest.raises(TypeError, match=r"test_returned_values\.py: Owner returns state of type NoneType\."):
        check_shape(Owner(), "state", None, (1, 16))


class Owner:
    """A class of this file."""
