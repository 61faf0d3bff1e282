"""One command line trains several models: each in a folder of its own, none ended by another's failure."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import configs
from pipeline.config.settings import Settings
from pipeline.config.sweep import Job
from pipeline.evaluation import model_table
from surrogates import store
from surrogates.contract import surrogate_names
from tests.support.launching import mpi, run, stage, succeeded
from tests.support.training_cases import made_dataset, read

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
    return made_dataset(tmp_path_factory.mktemp("data"))


def test_models_are_named_by_what_is_tried_and_one_that_fails_ends_no_other(
    dataset: Path, tmp_path: Path
) -> None:
    words = [f"run={tmp_path}/run", f"dataset={dataset}", *QUICK, "surrogate=hamiltonian,fno"]
    tried = ["surrogate.width=6,8", "training.learning_rate=1e-3"]
    result = run([sys.executable, "-m", "pipeline.train", "-m", *words, *tried], cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count("surrogate=hamiltonian does not fit the heat data") == 2
    folder = tmp_path / "run" / "models"
    for width in (6, 8):
        described = store.description(folder / f"fno-width-{width}")
        assert described["options"]["width"] == width
        assert not (folder / f"hamiltonian-width-{width}" / "model.json").exists()
    table = result.stdout[result.stdout.index("Relative L2 errors") :]
    assert table.count("fno-width-") == 4
    assert table.count("not evaluated") == 2
    assert table.count("surrogate=hamiltonian does not fit the heat data") == 2

    judge = [sys.executable, "-m", "pipeline.evaluate", "-m", *words[:-1], "surrogate=fno", *tried]
    judged = succeeded(run(judge, cwd=tmp_path))
    rows = {row.model: row for row in model_table.rows_of(tmp_path / "run")}
    row = rows["fno-width-8"]
    metrics = json.loads((folder / "fno-width-8" / "evaluation" / "metrics.json").read_text())
    headline = metrics["splits"]["test"]["headline"]
    assert row.one_step == headline["surrogate"]["one_step"]["median"]
    assert row.persistence == headline["persistence"]["rollout_end"]["median"]
    assert row.num_parameters == sum(p.numel() for p in store.load(folder / "fno-width-8").parameters())
    assert row.ranks == 1
    assert row.core_seconds is not None
    assert 0 < row.core_seconds < 600
    assert row.remark == ""
    assert "does not fit" in rows["hamiltonian-width-6"].remark
    for word in row.words()[2:8]:
        assert word.replace("\N{NO-BREAK SPACE}", " ") in judged.stdout.replace("\N{NO-BREAK SPACE}", " ")
    said = succeeded(run([sys.executable, "-m", "pipeline.compare", str(tmp_path / "run")])).stdout
    assert said.count("fno-width-") == 2


def test_ranks_train_one_model_after_the_other(dataset: Path, tmp_path: Path) -> None:
    words = (f"run={tmp_path}/run", f"dataset={dataset}", *QUICK, "seed=1,2")
    command = mpi(2, "-m", "pipeline.train", "-m", *words, "surrogate.width=8", "surrogate.modes=4")
    said = succeeded(run(command, cwd=tmp_path)).stdout
    models = [tmp_path / "run" / "models" / f"fno-seed-{seed}" for seed in (1, 2)]
    first, second = (store.description(model)["weights_sha256"] for model in models)
    assert first != second
    assert said.count("Relative L2 errors") == 1


def test_a_name_may_be_given_and_must_be_that_of_a_folder(dataset: Path, tmp_path: Path) -> None:
    assert read(f"run={tmp_path}", "model=wide").model_folder == tmp_path / "models" / "wide"
    assert read("surrogate=unet").model == "unet"
    for wrong in ("../wide", "a/b", ".hidden", ""):
        with pytest.raises(ValueError, match="model="):
            read(f"model='{wrong}'")
    result = stage("evaluate", f"run={tmp_path}", f"dataset={dataset}", "model=wide")
    assert f"python -m pipeline.train run={tmp_path} surrogate=fno model=wide" in result.stderr


def test_the_table_is_of_models_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def job(*words: str) -> Job:
        settings: Settings = read(f"run={tmp_path}/run", *words)
        return Job(words, settings)

    model_table.show_sweep([job("dry_run=true"), job("launcher=slurm")])
    assert capsys.readouterr().out == ""
    wrong = Job(("surrogate.width=wide",), failure="surrogate.width='wide': input should be an integer\nmore")
    model_table.show_sweep([job(), wrong])
    said = " ".join(capsys.readouterr().out.split())
    assert "not trained" in said
    assert "input should be" in said
    with pytest.raises(ValueError, match="has no models"):
        model_table.rows_of(tmp_path)
    assert "no run folder is named" in run([sys.executable, "-m", "pipeline.compare"]).stderr


def test_the_sweep_of_the_table_of_results_fits_every_surrogate_somewhere(tmp_path: Path) -> None:
    """What docs/results.md is made by, printed and not run: legal wherever a surrogate fits."""
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
