"""Sweeps: one command trains several models in separate folders, and continues after a failed model."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

import configs
from pipeline import evaluate, train
from pipeline.config.settings import Settings
from pipeline.config.sweep import Job
from pipeline.evaluation import model_table
from pipeline.runs.folder import RunFolder
from surrogates import store
from surrogates.contract import surrogate_names
from tests.support.in_process import run_command_line
from tests.support.launching import forked_mpi_command, require_success, run, run_stage
from tests.support.trainings.training_cases import generate_dataset, read_settings

QUICK_TRAINING = (
    "surrogate.layers=1",
    "training.steps=4",
    "training.batch_size=4",
    "training.warmup_steps=1",
    "training.validate_every=4",
    "training.device=cpu",
    "evaluation.figures=0",
    "evaluation.worth=0",
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_dataset(tmp_path_factory.mktemp("data"))


def test_models_are_named_by_the_swept_options_and_a_sweep_continues_after_a_failed_model(
    dataset: Path, tmp_path: Path
) -> None:
    arguments = [f"run={tmp_path}/run", f"dataset={dataset}", *QUICK_TRAINING, "surrogate=hamiltonian,fno"]
    swept_options = ["surrogate.width=6,8", "training.learning_rate=1e-3"]
    result = run_stage("train", "-m", *arguments, *swept_options, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count("surrogate=hamiltonian does not fit the heat data") == 2
    models_folder = tmp_path / "run" / "models"
    for width in (6, 8):
        description = store.description(models_folder / f"fno-width-{width}")
        assert description["options"]["width"] == width
        assert not (models_folder / f"hamiltonian-width-{width}" / "model.json").exists()
    printed_table = result.stdout[result.stdout.index("Relative L2 errors") :]
    assert printed_table.count("fno-width-") == 4
    assert printed_table.count("not evaluated") == 2
    assert printed_table.count("surrogate=hamiltonian does not fit the heat data") == 2

    evaluate_result = require_success(
        run_stage("evaluate", "-m", *arguments[:-1], "surrogate=fno", *swept_options, cwd=tmp_path)
    )
    rows = {table_row.model: table_row for table_row in model_table.rows_of(tmp_path / "run")}
    table_row = rows["fno-width-8"]
    metrics = json.loads((models_folder / "fno-width-8" / "evaluation" / "metrics.json").read_text())
    headline = metrics["splits"]["test"]["headline"]
    assert table_row.one_step == headline["surrogate"]["one_step"]["median"]
    assert table_row.persistence == headline["persistence"]["rollout_end"]["median"]
    assert table_row.num_parameters == sum(
        weights.numel() for weights in store.load(models_folder / "fno-width-8").parameters()
    )
    assert table_row.ranks == 1
    assert table_row.core_seconds is not None
    assert 0 < table_row.core_seconds < 600
    assert table_row.remark == ""
    assert "does not fit" in rows["hamiltonian-width-6"].remark
    for cell in table_row.cells()[2:8]:
        assert cell.replace("\N{NO-BREAK SPACE}", " ") in evaluate_result.stdout.replace(
            "\N{NO-BREAK SPACE}", " "
        )
    output = require_success(run([sys.executable, "-m", "pipeline.compare", str(tmp_path / "run")])).stdout
    assert output.count("fno-width-") == 2


def test_ranks_train_the_models_in_turn(dataset: Path, tmp_path: Path) -> None:
    arguments = (f"run={tmp_path}/run", f"dataset={dataset}", *QUICK_TRAINING, "seed=1,2")
    command = forked_mpi_command(
        2, "-m", "pipeline.train", "-m", *arguments, "surrogate.width=8", "surrogate.modes=4"
    )
    output = require_success(run(command, cwd=tmp_path)).stdout
    folders = [tmp_path / "run" / "models" / f"fno-seed-{seed}" for seed in (1, 2)]
    first_checksum, second_checksum = (store.description(folder)["weights_sha256"] for folder in folders)
    assert first_checksum != second_checksum
    assert output.count("Relative L2 errors") == 1


def test_a_sweeper_receives_the_error_of_each_run(dataset: Path, tmp_path: Path) -> None:
    """Compare the objectives that Hydra's callback sees with model.json and metrics.json."""
    arguments = (
        *("-m", f"run={tmp_path}/run", f"dataset={dataset}", *QUICK_TRAINING, "surrogate=hamiltonian,fno"),
        "+hydra.callbacks.objective._target_=tests.config.outside.objectives.Objectives",
        f"+hydra.callbacks.objective.path={tmp_path}/objectives",
        *("surrogate.width=6", f"hydra.sweep.dir={tmp_path}"),
    )
    model = tmp_path / "run" / "models" / "fno"
    for stage in (train, train, evaluate, evaluate):
        # The hamiltonian does not fit the data.
        assert run_command_line(stage.run, *arguments) == 2
    metrics = json.loads((model / "evaluation" / "metrics.json").read_text())
    error = metrics["splits"]["test"]["headline"]["surrogate"]["rollout_end"]["median"]
    expected = [math.inf, store.description(model)["valid_error"]] * 2 + [math.inf, error] * 2
    objectives = [float(line) for line in (tmp_path / "objectives").read_text().split()]
    np.testing.assert_array_equal(objectives, expected)


def test_models_are_named_by_the_parameters_of_a_sweeper(dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "yaml" / "experiment"
    folder.mkdir(parents=True)
    text = "# @package _global_\nhydra: {sweeper: {params: {surrogate.width: '6,8', training.steps: 4}}}\n"
    (folder / "widths.yaml").write_text(text)
    arguments = ("--config-dir", str(folder.parent), "-m", f"run={tmp_path}/run", f"dataset={dataset}")
    sweep_folder = f"hydra.sweep.dir={tmp_path}"
    assert run_command_line(train.run, *arguments, *QUICK_TRAINING, "experiment=widths", sweep_folder) == 0
    assert sorted(path.name for path in (tmp_path / "run" / "models").iterdir()) == [
        "fno-width-6",
        "fno-width-8",
    ]


def test_launchers_that_start_other_processes_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = "runs the stages in other processes"
    options = ("-m", f"run={tmp_path}/run", "seed=1,2", f"hydra.sweep.dir={tmp_path}")
    assert run_command_line(train.run, "hydra/launcher=submitit_local", *options) == 2
    assert f"error: hydra/launcher=submitit_local {message}" in capsys.readouterr().err
    # The same choice by a YAML of the user.
    for folder, text in (
        ("hydra/launcher", "_target_: hydra._internal.core_plugins.basic_launcher.BasicLauncher\n"),
        ("experiment", "# @package _global_\ndefaults: [{override /hydra/launcher: other}]\n"),
    ):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "other.yaml").write_text(text)
    arguments = ("--config-dir", str(tmp_path), *options, "experiment=other")
    assert run_command_line(train.run, *arguments) == 2
    assert f"error: hydra/launcher=other {message}" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_model_name_must_be_the_name_of_a_folder(dataset: Path, tmp_path: Path) -> None:
    assert (
        RunFolder.of(read_settings(f"run={tmp_path}", "model=wide")).model_folder
        == tmp_path / "models" / "wide"
    )
    assert read_settings("surrogate=unet").model == "unet"
    for wrong_name in ("../wide", "a/b", ".hidden", ""):
        with pytest.raises(ValueError, match="model="):
            read_settings(f"model='{wrong_name}'")
    result = run_stage("evaluate", f"run={tmp_path}", f"dataset={dataset}", "model=wide")
    assert f"python -m pipeline.train run={tmp_path} surrogate=fno model=wide" in result.stderr


def test_the_table_lists_models_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def make_job(*arguments: str) -> Job:
        settings: Settings = read_settings(f"run={tmp_path}/run", *arguments)
        return Job(arguments, settings)

    model_table.show_sweep([make_job("dry_run=true"), make_job("launcher=slurm")])
    assert capsys.readouterr().out == ""
    failed_job = Job(("surrogate.width=wide",), failure="surrogate.width='wide' is not allowed\nmore")
    model_table.show_sweep([make_job(), failed_job])
    output = " ".join(capsys.readouterr().out.split())
    assert "not trained" in output
    assert "is not allowed" in output
    with pytest.raises(ValueError, match="has no models"):
        model_table.rows_of(tmp_path)
    assert "no run folder is named" in run([sys.executable, "-m", "pipeline.compare"]).stderr


def test_the_sweep_of_the_results_trains_every_surrogate_on_some_data(tmp_path: Path) -> None:
    # A dry run of the sweep for docs/every_surrogate.md is refused only where a surrogate does not fit.
    systems = sorted(path.stem for path in Path(configs.__path__[0]).glob("experiment/results/*.yaml"))
    experiments = ",".join(f"results/{system}" for system in systems)
    arguments = [f"experiment={experiments}", f"surrogate={','.join(surrogate_names())}", "dry_run=true"]
    result = run_stage("chain", "-m", *arguments, cwd=tmp_path)
    refusals = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    reasons = (" does not fit the ", " has no quantities of interest")
    assert all(any(reason in line for reason in reasons) for line in refusals), result.stderr
    commands = [line for line in result.stdout.splitlines() if "pipeline.train" in line]
    assert len(commands) + len(refusals) == len(systems) * len(surrogate_names())
    for name in surrogate_names():
        assert any(f"surrogate={name} " in line for line in commands), name
