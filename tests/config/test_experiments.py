"""Shipped experiments: options, compatible surrogates and parametric trajectories."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI

import configs
from pipeline import chain, generate
from pipeline.config.build import build_solver
from pipeline.problem import expected_problem, with_physics
from surrogates.contract import compatible_surrogates
from tests.support.trainings.training_cases import read_settings

NAMES = sorted(path.stem for path in (Path(configs.__path__[0]) / "experiment").glob("*.yaml"))
#: Experiments with the stages generate and validate only.
WITHOUT_SURROGATE = ("plummer",)


@pytest.mark.parametrize("name", NAMES)
def test_the_options_of_an_experiment_fit_together(name: str) -> None:
    settings = read_settings(f"experiment={name}")
    assert settings.run == Path("runs") / name
    if name not in WITHOUT_SURROGATE:
        chain.check(settings)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("heat_fno", "deeponet fno pi_deeponet unet"),
        ("navier_stokes", "deeponet fno pi_deeponet unet"),
        ("two_body", "hamiltonian mlp"),
        ("three_body", "hamiltonian mlp"),
        ("heat_parametric", "deeponet fno mlp pi_deeponet pinn pod unet"),
        ("taylor_green", "deeponet fno mlp pi_deeponet pinn pod unet"),
        ("chip", "deeponet fno mlp pod unet"),
        ("kepler", "hamiltonian mlp pinn"),
    ],
)
def test_an_experiment_has_its_compatible_surrogates(name: str, expected: str) -> None:
    # Grids and particles need different surrogates, and some need a parametric problem.
    settings = read_settings(f"experiment={name}")
    solver = build_solver(settings.solver, MPI.COMM_SELF)
    times = np.linspace(0, settings.output.duration, settings.output.steps + 1)
    problem = with_physics(expected_problem(solver.spec, times), solver)
    compatible_names = set(compatible_surrogates(problem))
    shipped_names = {"deeponet", "fno", "hamiltonian", "mlp", "pi_deeponet", "pinn", "pod", "unet"}
    assert compatible_names & shipped_names == set(expected.split())


@pytest.mark.parametrize("name", ["heat_parametric", "taylor_green", "kepler", "chip", "shear_layers"])
def test_scalar_parameters_determine_the_trajectories(name: str) -> None:
    assert build_solver(read_settings(f"experiment={name}").solver, MPI.COMM_SELF).spec.parametric


def test_a_data_set_records_the_section_solver_as_composed() -> None:
    # Options without effect hold the defaults of the YAML. Equal runs therefore have equal hashes.
    settings = read_settings("experiment=smoke")
    manifest = generate._plan(settings, build_solver(settings.solver, MPI.COMM_SELF))
    assert manifest.configuration["solver"] == settings.solver
    assert "heaters" in settings.solver
    assert "rate" in settings.solver["heaters"]
