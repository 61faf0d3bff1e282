"""Coarsening that does not fit, and uses of coarse data that need the solver's grid: one clear sentence."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from mpi4py import MPI

from pipeline import chain_check, generate
from pipeline.coarsening.description import coarsening_of
from pipeline.coarsening.solver import coarsened
from pipeline.config.build import build_solver
from simsurrogate.errors import UserError
from solvers.contract import Solver, SteppedTrajectory
from tests.support.in_process import settings_of

HEAT = ("solver=heat", "solver.resolution=[24,16]", "storage.max_error=10", "solver.initial.modes=3")


def solver_of(tmp_path: Path, *overrides: str) -> Solver:
    settings = settings_of(tmp_path, *overrides)
    return coarsened(build_solver(settings.solver, MPI.COMM_SELF), settings.output.model_dump())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            (*HEAT, "output.coarsen=7"),
            "output.coarsen=7 does not divide the 24 cells of the solver's grid along x. Divisors of 24 are "
            "allowed: 1, 2, 3, 4, 6, 8, 12, 24. Type one of these numbers",
        ),
        ((*HEAT, "output.coarsen=[8,3]"), "output.coarsen=[8,3] does not divide the 16 cells"),
        (
            (*HEAT, "output.coarsen=[8]"),
            "output.coarsen=[8] has 1 number, and the grid has 2 axes. One number for each axis",
        ),
        (
            (*HEAT, "output.coarsen_method=cell_averages"),
            "output.coarsen_method=cell_averages has no effect with output.coarsen=1. Only its default",
        ),
        (
            ("experiment=two_body", "output.coarsen=2"),
            "output.coarsen=2 does not apply to the particles of nbody. Only the cells of a grid can be",
        ),
    ],
)
def test_a_coarsening_that_does_not_fit_is_refused_before_work_starts(
    overrides: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    for stage in (generate.run, chain_check.check):
        with pytest.raises(UserError, match=re.escape(message)):
            stage(settings_of(tmp_path, *overrides))
    assert not list(tmp_path.rglob("*.hdf5"))


@pytest.mark.parametrize("value", ["0", "-2", "1.5", "[8,0]", "all"])
def test_only_counts_of_cells_are_accepted(value: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^output\.coarsen=.* is not allowed"):
        settings_of(tmp_path, f"output.coarsen={value}")


def test_a_stored_cell_on_two_ranks_is_refused_with_the_allowed_numbers(tmp_path: Path) -> None:
    solver = build_solver(settings_of(tmp_path, *HEAT).solver, MPI.COMM_SELF)
    blocks = [(slice(0, 12), slice(0, 16)), (slice(12, 24), slice(0, 16))]
    solver.communicator = SimpleNamespace(allgather=lambda block: blocks)  # type: ignore[assignment]
    assert coarsening_of(solver, {"coarsen": [4, 8]}) is not None
    with pytest.raises(
        UserError,
        match=r"output\.coarsen=8 does not divide the blocks of 12 cells along x of the 2 ranks that share a "
        r"trajectory \(group_size\)\. A stored cell .* allowed: 1, 2, 3, 4, 6, 12\. Type one of these",
    ):
        coarsening_of(solver, {"coarsen": 8})


@pytest.mark.parametrize("surrogate", ["pi_deeponet", "pinn"])
def test_a_surrogate_that_learns_from_the_equation_refuses_coarse_data(
    surrogate: str, tmp_path: Path
) -> None:
    overrides = ("experiment=heat_parametric", "solver.resolution=32", "output.coarsen=4")
    settings = settings_of(tmp_path, *overrides, f"surrogate={surrogate}", "storage.max_error=10")
    with pytest.raises(UserError, match=r"its losses use the solver's equation, which coarse data"):
        chain_check.check(settings)


def test_a_coarse_frame_is_no_start_and_has_no_invariants(tmp_path: Path) -> None:
    solver = solver_of(tmp_path, *HEAT, "output.coarsen=[8,4]")
    trajectory = solver.prepare(solver.sample(np.random.default_rng(0)))
    assert isinstance(trajectory, SteppedTrajectory)
    state = trajectory.initial_state
    assert state.shape == (1, 3, 4)
    with pytest.raises(UserError, match=r"cannot start from a stored frame, .*output\.coarsen=\[8,4\]"):
        trajectory.advance(state, 0.0, 0.1)
    with pytest.raises(UserError, match=r"the invariants of heat need a state on the solver's own grid"):
        trajectory.invariants(state)
    for method, arguments in ((solver.residual, ({}, None, {})), (solver.initial_condition, ({}, {}, np))):
        with pytest.raises(UserError, match=r"of heat belongs to the solver's own grid, and the data are"):
            method(*arguments)
    assert trajectory.advance_linear(state, 0.0, 0.1) is None
