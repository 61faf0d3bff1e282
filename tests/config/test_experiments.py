"""The shipped experiments: their options fit together, and scalars determine some of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI

import configs
from pipeline import chain
from pipeline.config.build import build_solver
from pipeline.problem import expected_problem, with_physics
from surrogates.contract import compatible_surrogates
from tests.support.training_cases import read

NAMES = sorted(path.stem for path in (Path(configs.__path__[0]) / "experiment").glob("*.yaml"))
#: Those for generate and validate alone.
WITHOUT_SURROGATE = ("plummer", "three_body")


@pytest.mark.parametrize("name", NAMES)
def test_its_parts_fit_together(name: str) -> None:
    settings = read(f"experiment={name}")
    assert settings.run == Path("runs") / name
    if name not in WITHOUT_SURROGATE:
        chain.check(settings)


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("heat_fno", "deeponet fno pi_deeponet unet"),
        ("navier_stokes", "deeponet fno pi_deeponet unet"),
        ("two_body", "hamiltonian mlp"),
        ("three_body", "hamiltonian mlp"),
        ("heat_parametric", "deeponet fno mlp pi_deeponet pinn unet"),
        ("taylor_green", "deeponet fno mlp pi_deeponet pinn unet"),
        ("kepler", "hamiltonian mlp pinn"),
    ],
)
def test_the_surrogates_that_fit_it(name: str, fits: str) -> None:
    """Grids and particles need different surrogates, and some need a parametric problem."""
    settings = read(f"experiment={name}")
    solver = build_solver(settings.solver, MPI.COMM_SELF)
    times = np.linspace(0, settings.output.duration, settings.output.steps + 1)
    problem = with_physics(expected_problem(dataclasses.asdict(solver.spec), times), solver)
    found = set(compatible_surrogates(problem))
    known = {"deeponet", "fno", "hamiltonian", "mlp", "pi_deeponet", "pinn", "unet"}
    assert found & known == set(fits.split())


@pytest.mark.parametrize("name", ["heat_parametric", "taylor_green", "kepler"])
def test_scalars_alone_determine_it(name: str) -> None:
    assert build_solver(read(f"experiment={name}").solver, MPI.COMM_SELF).spec.determined
