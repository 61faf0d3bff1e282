"""Keys that contradict the data set or the model are refused, and keys without use are named."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from pipeline import evaluate, generate, train, validate
from pipeline.data.card import figures
from pipeline.training import fit
from tests.support.in_process import run_command_line
from tests.support.trainings.training_cases import TINY_TRAINING, no_curves

DATA = (
    "experiment=smoke",
    "samples={train: 4, valid: 1, test: 1, test_extrapolation: 0, per_shard: 4}",
)
STAGES = {"generate": generate.run, "validate": validate.run, "train": train.run, "evaluate": evaluate.run}


def run(stage: str, *arguments: str) -> int:
    with patch.object(fit, "draw_curves", no_curves), patch.object(figures, "draw", return_value=[]):
        return run_command_line(STAGES[stage], *arguments)


@pytest.fixture(scope="module")
def evaluated_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of heat with the model `big`, a U-Net."""
    folder = tmp_path_factory.mktemp("agreement") / "run"
    arguments = (f"run={folder}", *DATA)
    unet = ("surrogate=unet", "surrogate.levels=1", "surrogate.width=4", "model=big", *TINY_TRAINING[3:])
    assert run("generate", *arguments) == 0
    assert run("validate", *arguments) == 0
    assert run("train", *arguments, *unet, "training.steps=3") == 0
    assert run("evaluate", f"run={folder}", "model=big", "evaluation.figures=0", "evaluation.worth=0") == 0
    return folder


def last_complete_record(folder: Path, stage: str) -> dict[str, Any]:
    records = [json.loads(path.read_text()) for path in sorted((folder / "records").glob(f"{stage}-*.json"))]
    return next(record for record in reversed(records) if record["outcome"] == "complete")


@pytest.mark.parametrize(
    ("stage", "arguments", "message"),
    [
        ("train", ["solver.resolution=48"], "solver.resolution=48 contradicts the data set in"),
        ("train", ["solver=nbody"], "solver=nbody contradicts the data set in"),
        ("train", ["samples.train=100"], "samples.train=100 contradicts the data set in"),
        ("train", ["output.duration=9"], "output.duration=9.0 contradicts the data set in"),
        ("train", ["storage.precision=float64"], "storage.precision=float64 contradicts the data set in"),
        ("validate", ["seed=7"], "seed=7 contradicts the data set in"),
        ("validate", ["samples={train: 5}"], "samples.train=5 contradicts the data set in"),
        (
            "evaluate",
            ["model=big", "experiment=navier_stokes"],
            "solver=navier_stokes contradicts the data set in",
        ),
        ("evaluate", ["model=big", "surrogate=fno"], "surrogate=fno contradicts the model in"),
        (
            "evaluate",
            ["model=big", "surrogate=unet", "surrogate.width=999"],
            "surrogate.width=999 contradicts",
        ),
        ("evaluate", ["model=big", "training.steps=7"], "training.steps=7 contradicts the model in"),
        ("evaluate", ["model=big", "seed=1"], "seed=1 contradicts the model in"),
        ("evaluate", ["model=big", "training.seed=1"], "training.seed=1 contradicts the model in"),
        ("evaluate", ["model=big", "ensemble=3"], "ensemble=3 contradicts the model in"),
    ],
)
def test_a_contradicting_key_is_refused(
    stage: str, arguments: list[str], message: str, evaluated_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(stage, f"run={evaluated_run}", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("contradicts") <= 1


def test_the_evaluation_names_the_surrogate_that_was_trained(
    evaluated_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluation = evaluated_run / "models" / "big" / "evaluation"
    assert json.loads((evaluation / "metrics.json").read_text())["surrogate"] == "unet"
    report = re.sub(r"base64,[^\"]*", "", (evaluation / "report.html").read_text(encoding="utf-8"))
    assert ("fno" in report, "unet" in report) == (False, True)
    assert re.search(r"data [\d.e-]+ core-hours; training [\d.e-]+ core-hours", report)
    assert (
        run(
            "evaluate",
            f"run={evaluated_run}",
            "model=big",
            "surrogate=unet",
            "evaluation.figures=0",
            "evaluation.worth=0",
        )
        == 0
    )
    assert "nothing to do" in capsys.readouterr().out


def test_the_seed_of_the_data_may_differ_from_the_seed_of_the_training(
    evaluated_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds = ("seed=5", "training.seed=0")
    assert (
        run(
            "evaluate",
            f"run={evaluated_run}",
            "model=big",
            *seeds,
            "evaluation.figures=0",
            "evaluation.worth=0",
        )
        == 0
    )
    assert "nothing to do" in capsys.readouterr().out


def test_records_hold_the_configuration_of_the_data_and_the_model(evaluated_run: Path) -> None:
    assert run("validate", f"run={evaluated_run}") == 0
    for stage in ("validate", "train", "evaluate"):
        configuration = last_complete_record(evaluated_run, stage)["configuration"]
        assert configuration["solver"]["resolution"] == 24, stage
        assert configuration["samples"]["train"] == 4, stage
        assert configuration["output"] == {
            "duration": 0.06,
            "steps": 6,
            "coarsen": 1,
            "coarsen_method": "automatic",
        }, stage
    configuration = last_complete_record(evaluated_run, "evaluate")["configuration"]
    surrogate, training = configuration["surrogate"], configuration["training"]
    assert (surrogate["name"], surrogate["levels"], training["steps"]) == ("unet", 1, 3)


@pytest.mark.parametrize(
    ("stage", "arguments", "unused"),
    [
        ("validate", ["surrogate=unet", "training.steps=3"], "surrogate.name, training.steps"),
        ("generate", ["evaluation.figures=1", *DATA], "evaluation.figures"),
        ("evaluate", ["model=big", "group_size=2", "evaluation.figures=0"], "group_size"),
        ("validate", [*DATA], ""),
    ],
)
def test_keys_without_use_in_a_stage_are_named(
    stage: str, arguments: list[str], unused: str, evaluated_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(stage, f"run={evaluated_run}", *arguments) == 0
    expected_text = f"note: {stage} does not use {unused}\n" if unused else ""
    assert (
        "".join(line for line in capsys.readouterr().err.splitlines(True) if "note: " in line)
        == expected_text
    )


def test_the_chain_names_no_keys(
    evaluated_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMSURROGATE_IN_CHAIN", "1")
    assert run("validate", f"run={evaluated_run}", "surrogate=unet") == 0
    assert "note: " not in capsys.readouterr().err
