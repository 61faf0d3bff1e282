"""Sweeps: one command line trains several models in separate folders, and a failed model ends no other."""

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
from tests.support.launching import mpi, run, stage, succeeded
from tests.support.training_cases import generate_dataset, read

QUICK = (
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


def test_models_are_named_by_the_swept_options_and_a_failed_model_ends_no_other(
    dataset: Path, tmp_path: Path
) -> None:
    words = [f"run={tmp_path}/run", f"dataset={dataset}", *QUICK, "surrogate=hamiltonian,fno"]
    swept_options = ["surrogate.width=6,8", "training.learning_rate=1e-3"]
    result = run([sys.executable, "-m", "pipeline.train", "-m", *words, *swept_options], cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count("surrogate=hamiltonian does not fit the heat data") == 2
    folder = tmp_path / "run" / "models"
    for width in (6, 8):
        description = store.description(folder / f"fno-width-{width}")
        assert description["options"]["width"] == width
        assert not (folder / f"hamiltonian-width-{width}" / "model.json").exists()
    table = result.stdout[result.stdout.index("Relative L2 errors") :]
    assert table.count("fno-width-") == 4
    assert table.count("not evaluated") == 2
    assert table.count("surrogate=hamiltonian does not fit the heat data") == 2

    evaluate = [sys.executable, "-m", "pipeline.evaluate", "-m", *words[:-1], "surrogate=fno", *swept_options]
    evaluation = succeeded(run(evaluate, cwd=tmp_path))
    rows = {row.model: row for row in model_table.rows_of(tmp_path / "run")}
    row = rows["fno-width-8"]
    metrics = json.loads((folder / "fno-width-8" / "evaluation" / "metrics.json").read_text())
    headline = metrics["splits"]["test"]["headline"]
    assert row.one_step == headline["surrogate"]["one_step"]["median"]
    assert row.persistence == headline["persistence"]["rollout_end"]["median"]
    assert row.num_parameters == sum(
        weights.numel() for weights in store.load(folder / "fno-width-8").parameters()
    )
    assert row.ranks == 1
    assert row.core_seconds is not None
    assert 0 < row.core_seconds < 600
    assert row.remark == ""
    assert "does not fit" in rows["hamiltonian-width-6"].remark
    for word in row.cells()[2:8]:
        assert word.replace("\N{NO-BREAK SPACE}", " ") in evaluation.stdout.replace("\N{NO-BREAK SPACE}", " ")
    output = succeeded(run([sys.executable, "-m", "pipeline.compare", str(tmp_path / "run")])).stdout
    assert output.count("fno-width-") == 2


def test_ranks_train_the_models_in_turn(dataset: Path, tmp_path: Path) -> None:
    words = (f"run={tmp_path}/run", f"dataset={dataset}", *QUICK, "seed=1,2")
    command = mpi(2, "-m", "pipeline.train", "-m", *words, "surrogate.width=8", "surrogate.modes=4")
    output = succeeded(run(command, cwd=tmp_path)).stdout
    models = [tmp_path / "run" / "models" / f"fno-seed-{seed}" for seed in (1, 2)]
    first, second = (store.description(model)["weights_sha256"] for model in models)
    assert first != second
    assert output.count("Relative L2 errors") == 1


def test_a_model_name_must_be_the_name_of_a_folder(dataset: Path, tmp_path: Path) -> None:
    assert RunFolder.of(read(f"run={tmp_path}", "model=wide")).model_folder == tmp_path / "models" / "wide"
    assert read("surrogate=unet").model == "unet"
    for wrong_name in ("../wide", "a/b", ".hidden", ""):
        with pytest.raises(ValueError, match="model="):
            read(f"model='{wrong_name}'")
    result = stage("evaluate", f"run={tmp_path}", f"dataset={dataset}", "model=wide")
    assert f"python -m pipeline.train run={tmp_path} surrogate=fno model=wide" in result.stderr


def test_the_table_lists_models_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def job(*words: str) -> Job:
        settings: Settings = read(f"run={tmp_path}/run", *words)
        return Job(words, settings)

    model_table.show_sweep([job("dry_run=true"), job("launcher=slurm")])
    assert capsys.readouterr().out == ""
    failed_job = Job(
        ("surrogate.width=wide",), failure="surrogate.width='wide': input should be an integer\nmore"
    )
    model_table.show_sweep([job(), failed_job])
    output = " ".join(capsys.readouterr().out.split())
    assert "not trained" in output
    assert "input should be" in output
    with pytest.raises(ValueError, match="has no models"):
        model_table.rows_of(tmp_path)
    assert "no run folder is named" in run([sys.executable, "-m", "pipeline.compare"]).stderr


def test_the_sweep_of_the_results_trains_every_surrogate_on_some_data(tmp_path: Path) -> None:
    """A dry run of the sweep for docs/results.md is refused only where a surrogate does not fit."""
    systems = sorted(path.stem for path in Path(configs.__path__[0]).glob("experiment/results/*.yaml"))
    experiments = ",".join(f"results/{system}" for system in systems)
    words = [f"experiment={experiments}", f"surrogate={','.join(surrogate_names())}", "dry_run=true"]
    result = run([sys.executable, "-m", "pipeline.chain", "-m", *words], cwd=tmp_path)
    refused = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert all(" does not fit the " in line for line in refused), result.stderr
    trained = [line for line in result.stdout.splitlines() if "pipeline.train" in line]
    assert len(trained) + len(refused) == len(systems) * len(surrogate_names())
    for name in surrogate_names():
        assert any(f"surrogate={name} " in line for line in trained), name
