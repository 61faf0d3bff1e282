"""Solvers with a mistake: validate names the mistake, and passes the same solver without it."""

from __future__ import annotations

import math
from pathlib import Path
from unittest import mock

import pytest

from pipeline import generate, validate
from pipeline.config.compose import hydra_arguments
from pipeline.data.card import figures
from pipeline.data.manifest import read_document
from pipeline.data.validation import Validation
from pipeline.physics_checks import stated_error
from simsurrogate.errors import UserError
from solvers.contract import DivergedError, solver_class
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


def test_an_unknown_unit_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    validated(tmp_path, "unit")
    assert "warning: units: no known unit has u (kelwin). A unit is SI" in capsys.readouterr().err


def diverging(*_: object) -> None:
    raise DivergedError("the temperature is not finite")


def test_data_without_a_self_stated_error_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solver_class("damped_waves", SOLVER), "order_in_time", math.nan)
    assert reason_without_an_error(tmp_path) == (
        "in space: the solver damped_waves has no method reference_setting; in time: the solver damped_waves "
        "has neither a time_step nor a tolerance"
    )


def test_data_whose_more_accurate_solutions_diverge_say_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stated_error, "_errors", diverging)
    assert reason_without_an_error(tmp_path) == (
        "no trajectory of the sample has a more accurate solution: the temperature is not finite"
    )


def reason_without_an_error(run: Path) -> str:
    """Return why a data set has no self-stated error."""
    validated(run, "none")
    validation = read_document(run / "dataset" / "validation.json", Validation)
    assert validation.self_stated_error is None
    (record,) = (record for record in validation.results if record.check == "self_stated_error")
    assert record.outcome == "not applicable"
    return record.message


@pytest.mark.fault(
    "the solver has a mistake",
    cause="{mistake}: a wrong sign of the diffusion, unseeded random numbers in `sample`, state that is "
    "kept between two solutions, or a supply of heat that the fields do not have",
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
        ("budget", r"budget: trajectory 0: mean changes by .*, and sources and walls supply 0\.0001\. "),
    ],
)
def test_a_mistake_of_the_solver_is_named(mistake: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        validated(tmp_path, mistake)
