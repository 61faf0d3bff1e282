"""The shipped experiments: what they ask fits together, and some that scalars alone determine."""

from __future__ import annotations

from pathlib import Path

import pytest
from mpi4py import MPI

import configs
from pipeline import chain
from pipeline.settings import build_solver
from tests.training_cases import read

NAMES = sorted(path.stem for path in (Path(configs.__path__[0]) / "experiment").glob("*.yaml"))
#: Those for generate and validate alone.
WITHOUT_SURROGATE = ("plummer", "three_body")


@pytest.mark.parametrize("name", NAMES)
def test_its_parts_fit_together(name: str) -> None:
    settings = read(f"experiment={name}")
    assert settings.run == Path("runs") / name
    if name not in WITHOUT_SURROGATE:
        chain.check(settings)


@pytest.mark.parametrize("name", ["heat_parametric", "taylor_green", "kepler"])
def test_scalars_alone_determine_it(name: str) -> None:
    assert build_solver(read(f"experiment={name}").solver, MPI.COMM_SELF).spec.determined
