"""Discovery of solvers and surrogates by name, in installed packages and in a user's file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from simsurrogate.errors import UserError
from solvers.contract import solver_class, solver_names
from surrogates.contract import surrogate_class, surrogate_names

SOLVER_SOURCE = """
from solvers.contract import Solver

class Frozen(Solver):
    def sample(self, rng, outside=False):
        return {}

    def prepare(self, parameters):
        raise NotImplementedError
"""


def test_shipped_classes_are_available_by_name() -> None:
    assert {"heat", "navier_stokes", "nbody"} <= set(solver_names())
    assert solver_class("navier_stokes").__name__ == "NavierStokes"
    assert {"fno", "pi_deeponet", "pinn"} <= set(surrogate_names())
    assert surrogate_class("fno").__name__ == "FNO"


def test_an_unknown_name_is_refused_with_the_known_names() -> None:
    with pytest.raises(UserError, match=r"solver 'haet' is not one of .*heat, .*solver\.path=FILE\.py"):
        solver_class("haet")


def test_a_file_of_the_user_defines_one_solver(tmp_path: Path) -> None:
    path = tmp_path / "frozen.py"
    path.write_text(SOLVER_SOURCE)
    assert solver_class("frozen", path).__name__ == "Frozen"
    assert solver_class("anything", path) is solver_class("frozen", path)
    path = tmp_path / "empty.py"
    path.write_text("")
    with pytest.raises(UserError, match=r"the file defines these subclasses of Solver: none"):
        solver_class("empty", path)
    path = tmp_path / "importing.py"
    path.write_text("from solvers.heat import Heat\n")
    with pytest.raises(UserError, match=r"Solver: none \(the file imports Heat from solvers\.heat\.solver"):
        solver_class("importing", path)
    with pytest.raises(UserError, match=r"the file does not exist, or its name does not end in \.py"):
        solver_class("absent", tmp_path / "absent.py")


def test_an_error_in_a_file_of_the_user_keeps_its_traceback(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        solver_class("broken", path)


def test_an_installed_package_announces_a_solver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "frost.py").write_text(SOLVER_SOURCE)
    metadata = tmp_path / "frost-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: frost\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[simsurrogate.solvers]\nfrozen = frost:Frozen\nnothing = frost:FILE\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert "frozen" in solver_names()
        assert solver_class("frozen").__module__ == "frost"
        (tmp_path / "frost.py").write_text(SOLVER_SOURCE + "FILE = 3\n")
        del sys.modules["frost"]
        with pytest.raises(UserError, match=r"the entry point frost:FILE .* is not a Solver"):
            solver_class("nothing")
    finally:
        sys.modules.pop("frost", None)
