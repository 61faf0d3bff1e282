"""The resolution of frames by their grid: waves, fronts, and the caution before a data set is generated."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI

from pipeline.coarsening.solver import coarsened
from pipeline.data.plan import generator, index
from pipeline.generation import resolution
from pipeline.generation.drawn_range import check_drawn_range
from pipeline.generation.first_trajectory import check_first_trajectory
from simsurrogate.spec import Axis, Boundary, Field, Grid, Spec
from tests.support.fronts import SAMPLES, SEED, Fronts
from tests.support.in_process import generate_in_process
from tests.support.launching import mpi_command, require_success, run

CELLS = 48


def spec_of(boundary: Boundary) -> Spec:
    return Spec(
        name="line",
        equation="",
        sites=Grid((Axis("x", "m", CELLS, 0.0, 1.0, boundary),)),
        fields=(Field("u", "K", "temperature"),),
        coefficient_fields=(),
        parameters=(),
        invariants=(),
        autonomous=True,
        parametric=False,
    )


@pytest.mark.parametrize("boundary", ["periodic", "dirichlet"])
@pytest.mark.parametrize(
    ("width", "words"),
    [(0.1, ""), (0.001, "does not resolve a front of u: neighbouring cells differ by 100 %")],
)
def test_fronts_are_resolved_by_two_cells(boundary: Boundary, width: float, words: str) -> None:
    x = (np.arange(CELLS) + 0.5) / CELLS
    state = np.tanh(np.sin(2 * np.pi * x) / (2 * np.pi * width))[None]
    message = resolution.message(resolution.measure(spec_of(boundary), state))
    assert words in message
    assert bool(words) == bool(message)


def test_the_last_third_of_the_waves_is_that_of_the_solver() -> None:
    """Without waves above a third of the cells, the resolved waves are those of the 2/3 rule."""
    x = 2 * np.pi * (np.arange(CELLS) + 0.5) / CELLS
    for wave, extra, expected in ((14, 0, 0.1), (14, 1e-3, 0.0), (10, 0, 0.0), (20, 0, 0.1)):
        state = (np.sin(x) + np.sqrt(0.1 / 0.9) * np.sin(wave * x) + extra * np.sin(20 * x))[None]
        tail = resolution.measure(spec_of("periodic"), state).tail
        assert tail == pytest.approx(expected, abs=1e-4), (wave, extra)


def test_a_constant_field_is_resolved() -> None:
    state = np.full((1, CELLS), 300.0) + 1e-6 * (-1.0) ** np.arange(CELLS)
    assert resolution.message(resolution.measure(spec_of("periodic"), state)) == ""
    two_channels = dataclasses.replace(
        spec_of("periodic"), fields=(Field("u", "K", "temperature"), Field("v", "K", "other temperature"))
    )
    assert resolution.measure(two_channels, np.concatenate([state, state])).tail_channel == ""


def test_round_off_along_an_axis_is_resolved() -> None:
    """A field of x varies along y by its rounding alone, and the spectrum along y is that of noise."""
    x = (np.arange(CELLS) + 0.5) / CELLS
    noise = 1e-16 * np.random.default_rng(0).normal(size=(CELLS, CELLS))
    line = spec_of("periodic")
    plane = dataclasses.replace(line, sites=Grid((line.axes[0], dataclasses.replace(line.axes[0], name="y"))))
    measured = resolution.measure(plane, (np.sin(2 * np.pi * x)[:, None] + noise)[None])
    assert measured.tail < 1e-20


def test_generate_warns_before_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generate_in_process(
        tmp_path,
        "experiment=smoke",
        *("samples.train=1", "samples.valid=1", "samples.test=1", "storage.max_error=1"),
        *(
            "solver.initial.correlation_length=0.04",
            "solver.initial.modes=23",
            "solver.initial.spectral_exponent=1.0",
        ),
    )
    output = capsys.readouterr().out
    assert "generate: caution: trajectory 0 of train at 0 s: the grid does not resolve a front of " in output
    assert output.count("the grid does not resolve") == 1
    assert output.index("caution: trajectory 0") < output.index("3 trajectories in")


def test_the_extreme_of_a_drawn_range_is_examined() -> None:
    solver = Fronts(MPI.COMM_SELF)
    widths = [solver.sample(generator(SEED, index("train", number)))["width"] for number in range(64)]
    assert (
        resolution.unresolved(solver, solver.prepare({"height": 1.0, "width": widths[0]}).initial_state) == ""
    )
    caution = check_drawn_range(solver, SEED, SAMPLES, MPI.COMM_SELF)
    assert np.argmin(widths) == 50
    expected = "trajectory 50 of train at 0 s: the grid does not resolve a front of u"
    assert caution.startswith(expected)
    assert check_drawn_range(solver, SEED, SAMPLES | {"train": 1}, MPI.COMM_SELF) == ""


def test_smooth_coefficient_fields_are_examined_too() -> None:
    smooth, layers = (
        Fronts(MPI.COMM_SELF, has_coefficient=True, is_smooth=smooth) for smooth in (True, False)
    )
    assert "trajectory 50 of train at 0 s: the grid does not resolve a front of k" in check_drawn_range(
        smooth, SEED, SAMPLES, MPI.COMM_SELF
    )
    assert check_drawn_range(layers, SEED, SAMPLES, MPI.COMM_SELF) == ""


def test_the_solvers_own_frames_are_examined_where_coarser_ones_are_stored() -> None:
    """The fronts of trajectory 0 are resolved at the start, and steeper with each frame."""
    for coarsen in (1, 4):
        solver = coarsened(Fronts(MPI.COMM_SELF), {"coarsen": coarsen})
        caution = check_first_trajectory(solver, SEED, np.linspace(0.0, 5.0, 6), "float64", MPI.COMM_SELF)
        assert caution.startswith("trajectory 0 of train at 3 s: the grid does not resolve a front of u"), (
            coarsen
        )


def test_all_ranks_get_the_caution_of_one_rank() -> None:
    result = require_success(run(mpi_command(2, "-m", "tests.support.fronts")))
    expected = check_drawn_range(Fronts(MPI.COMM_SELF), SEED, SAMPLES, MPI.COMM_SELF)
    assert [json.loads(line) for line in result.stdout.splitlines()] == [[expected] * 2] * 2
