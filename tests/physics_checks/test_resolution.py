"""The resolution of frames by their grid: waves, fronts, and the caution before a data set is generated."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from pipeline.generation import resolution
from simsurrogate.spec import Axis, Boundary, Field, Grid, Spec
from tests.support.in_process import generate_in_process

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
    assert "generate: caution: the first trajectory at 0 s: the grid does not resolve a front of " in output
    assert output.index("caution: the first") < output.index("3 trajectories in")
