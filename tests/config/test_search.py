"""The search of hyper-parameters by Optuna, with the command of the documentation."""

from __future__ import annotations

import importlib.metadata
import math
import re
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from pipeline import train
from surrogates import store
from tests.config.test_sweep import QUICK_TRAINING
from tests.support.in_process import run_command_line
from tests.support.trainings.training_cases import generate_dataset

PAGE = Path(__file__).parents[2] / "docs" / "training.md"


def search_arguments() -> list[str]:
    """Return the arguments of the command of the page after `python -m pipeline.train`."""
    (command,) = re.findall(
        r"^    python -m pipeline\.train (-m hydra/sweeper=optuna(?:.*\\\n)+.*)", PAGE.read_text(), re.M
    )
    return shlex.split(command.replace("\\\n", ""))


def test_a_search_survives_failed_models_and_continues_its_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    generate_dataset(tmp_path / "runs" / "heat")
    # A batch of 10^9 windows is refused: about half of the models fail.
    arguments = [*search_arguments(), *QUICK_TRAINING, "hydra.sweeper.n_trials=3"]
    arguments = [argument for argument in arguments if not argument.startswith("training.batch_size")]
    arguments.append("training.batch_size=choice(4,1000000000)")
    for seed in (1, 2):
        assert run_command_line(train.run, *arguments, f"hydra.sweeper.sampler.seed={seed}") in (0, 2)
    with closing(sqlite3.connect("search.db")) as connection:
        trials = connection.execute(
            "select state, value from trials join trial_values using (trial_id)"
        ).fetchall()
    assert len(trials) == 6
    models = [folder for folder in Path("runs/heat/models").iterdir() if (folder / "model.json").exists()]
    errors = [store.description(folder)["valid_error"] for folder in models]
    assert 0 < len(errors) < 6
    assert sorted(value for _, value in trials if math.isfinite(value)) == pytest.approx(sorted(errors))
    results = yaml.safe_load(Path("optimization_results.yaml").read_text())
    assert results["best_value"] == min(errors)
    best_model = models[errors.index(min(errors))]
    assert f"width-{results['best_params']['surrogate.width']}" in best_model.name


def test_a_search_without_its_package_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert run_command_line(train.run, "-m", "hydra/sweeper=optuna") == 2
    assert "Type pip install 'simsurrogate[search]'" in capsys.readouterr().err
