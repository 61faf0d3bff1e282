"""Sweeps: one command trains several models in separate folders, and continues after a failed model."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import configs
from pipeline.config.settings import Settings
from pipeline.config.sweep import Job
from pipeline.evaluation import model_table
from pipeline.runs.folder import RunFolder
from surrogates import store
from surrogates.contract import surrogate_names
from tests.support.launching import mpi_command, require_success, run, run_stage
from tests.support.training_cases import generate_dataset, read_settings

QUICK_TRAINING = (
    "surrogate.layers=1",
    "training.steps=4",
    "training.batch_size=4",
    "training.warmup_steps=1",
    "training.validate_every=4",
    "training.device=cpu",
    "evaluation.figures=0",
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_dataset(tmp_path_factory.mktemp("data"))


def test_models_are_named_by_the_swept_options_and_a_sweep_continues_after_a_failed_model(
    dataset: Path, tmp_path: Path
) -> None:
    arguments = [f"run={tmp_path}/run", f"dataset={dataset}", *QUICK_TRAINING, "surrogate=hamiltonian,fno"]
    swept_options = ["surrogate.width=6,8", "training.learning_rate=1e-3"]
    result = run([sys.executable, "-m", "pipeline.train", "-m", *arguments, *swept_options], cwd=tmp_path)
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

    command = [
        sys.executable,
        "-m",
        "pipeline.evaluate",
        "-m",
        *arguments[:-1],
        "surrogate=fno",
        *swept_options,
    ]
    evaluate_result = require_success(run(command, cwd=tmp_path))
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
    command = mpi_command(
        2, "-m", "pipeline.train", "-m", *arguments, "surrogate.width=8", "surrogate.modes=4"
    )
    output = require_success(run(command, cwd=tmp_path)).stdout
    folders = [tmp_path / "run" / "models" / f"fno-seed-{seed}" for seed in (1, 2)]
    first_checksum, second_checksum = (store.description(folder)["weights_sha256"] for folder in folders)
    assert first_checksum != second_checksum
    assert output.count("Relative L2 errors") == 1


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
    # A dry run of the sweep for docs/results.md is refused only where a surrogate does not fit.
    systems = sorted(path.stem for path in Path(configs.__path__[0]).glob("experiment/results/*.yaml"))
    experiments = ",".join(f"results/{system}" for system in systems)
    arguments = [f"experiment={experiments}", f"surrogate={','.join(surrogate_names())}", "dry_run=true"]
    result = run([sys.executable, "-m", "pipeline.chain", "-m", *arguments], cwd=tmp_path)
    refusals = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert all(" does not fit the " in line for line in refusals), result.stderr
    commands = [line for line in result.stdout.splitlines() if "pipeline.train" in line]
    assert len(commands) + len(refusals) == len(systems) * len(surrogate_names())
    for name in surrogate_names():
        assert any(f"surrogate={name} " in line for line in commands), name
