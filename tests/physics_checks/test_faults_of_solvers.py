"""Solvers with a mistake: validate names the mistake, and passes the same solver without it."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

from pipeline import generate, validate
from pipeline.config.compose import hydra_arguments
from pipeline.data.card import figures
from simsurrogate.errors import UserError
from tests.support.in_process import settings_of

SOLVER = Path(__file__).parent / "solvers" / "damped_waves.py"


def validated(run: Path, mistake: str) -> None:
    """Generate and validate a small data set."""
    options = [
        *(f"solver.path={SOLVER}", f"solver.mistake={mistake}"),
        *("samples.train=6", "samples.valid=2", "samples.test=2", "samples.test_extrapolation=0"),
        *("output.steps=10", "output.duration=1.0"),
    ]
    settings = settings_of(run, *hydra_arguments(options))
    with mock.patch.object(figures, "draw", return_value=[]):
        generate.run(settings)
    validate.run(settings)


def test_a_correct_solver_passes(tmp_path: Path) -> None:
    validated(tmp_path, "none")


@pytest.mark.fault(
    "the solver has a mistake",
    cause="{mistake}: a wrong sign of the diffusion, unseeded random numbers in `sample`, or state that is "
    "kept between two solutions",
    result="validate names the mistake",
    lost="the data set",
)
@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("sign", r"residual: trajectory .* Likely cause: the fields are those of k=-0\.01"),
        ("unseeded", r"draws: sample returns other values of phases for an equal generator: unseeded random"),
        (
            "memory",
            r"recomputed: .* so do two new solutions of equal parameters: .* keeps state between calls",
        ),
    ],
)
def test_a_mistake_of_the_solver_is_named(mistake: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        validated(tmp_path, mistake)
