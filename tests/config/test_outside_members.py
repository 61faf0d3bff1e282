"""Solvers and surrogates outside the repository: in a user's file, and in an installed package."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from pipeline.config.compose import hydra_arguments
from tests.support.launching import require_success, run, run_stage

FILES = Path(__file__).parent / "outside"
SMALL_RUN = (
    "samples.train=4",
    "samples.valid=2",
    "samples.test=2",
    "samples.per_shard=4",
    "output.steps=3",
    "output.duration=0.03",
    "training.steps=4",
    "training.batch_size=4",
    "training.warmup_steps=1",
    "training.device=cpu",
    "evaluation.figures=0",
    "evaluation.worth=0",
    "solver.resolution=12",
    "surrogate.first_factor=0.5",
)
FILE_OVERRIDES = (
    f"solver.path={FILES / 'decaying_wave.py'}",
    f"surrogate.path={FILES / 'scaled_state.py'}",
)


def test_a_path_selects_custom_yaml_and_adds_its_options() -> None:
    arguments = hydra_arguments(["solver.path=folder/my_heat.py", "solver.width=3", "seed=1"])
    assert arguments == [
        "solver=custom",
        "++solver.name=my_heat",
        "++solver.path=folder/my_heat.py",
        "++solver.width=3",
        "seed=1",
    ]
    assert hydra_arguments(arguments) == arguments


def test_overrides_of_shipped_members_stay_unchanged() -> None:
    arguments = ["solver=heat", "solver.extent=[1.0]", "surrogate=fno,unet", "-m", "--cfg", "job"]
    assert hydra_arguments(arguments) == arguments


@pytest.fixture(scope="module")
def chain_from_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files") / "run"
    require_success(run_stage("chain", *FILE_OVERRIDES, *SMALL_RUN, f"run={folder}"))
    return folder


def test_the_whole_chain_runs_with_a_solver_and_a_surrogate_from_files(chain_from_files: Path) -> None:
    manifest = json.loads((chain_from_files / "dataset" / "manifest.json").read_text())
    assert manifest["configuration"]["solver"] == {
        "name": "decaying_wave",
        "path": "decaying_wave.py",
        "resolution": 12,
    }
    evaluation_folder = chain_from_files / "models" / "scaled_state" / "evaluation"
    assert json.loads((evaluation_folder / "metrics.json").read_text())["splits"]["test"]


def test_evaluate_never_imports_the_solver_file_that_the_data_set_names(chain_from_files: Path) -> None:
    arguments = [FILE_OVERRIDES[1], f"run={chain_from_files}", "evaluation.figures=1"]
    result = run_stage("evaluate", *arguments)
    assert result.returncode == 2
    assert "Type solver.path=decaying_wave.py" in result.stderr


def test_evaluate_never_imports_the_surrogate_file_of_a_model(chain_from_files: Path) -> None:
    result = run_stage("evaluate", FILE_OVERRIDES[0], f"run={chain_from_files}", "model=scaled_state")
    assert result.returncode == 2
    assert "surrogate.path=FILE.py" in result.stderr


def test_the_message_about_a_wrong_option_names_the_legal_options() -> None:
    result = run_stage("generate", FILE_OVERRIDES[0], "solver.resolutoin=3", "run=never")
    assert result.returncode == 2
    assert "solver.resolutoin: there is no such key; did you mean 'resolution'?" in result.stderr


def test_a_bug_in_a_users_solver_keeps_its_traceback(tmp_path: Path) -> None:
    source = (FILES / "decaying_wave.py").read_text().replace("[None]", "[:, None]")
    path = tmp_path / "broken_wave.py"
    path.write_text(source.replace("DecayingWave", "BrokenWave").replace('"decaying_wave"', '"broken_wave"'))
    result = run_stage("generate", f"solver.path={path}", *SMALL_RUN[:6], f"run={tmp_path / 'run'}")
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    record = json.loads((tmp_path / "run" / "records" / "generate-000.json").read_text())
    assert record["traceback"].startswith("Traceback")


def test_the_whole_chain_runs_with_an_installed_package(tmp_path: Path) -> None:
    site_packages = tmp_path / "site"
    package_folder = site_packages / "outside_members"
    metadata = site_packages / "outside_members-1.0.dist-info"
    metadata.mkdir(parents=True)
    shutil.copytree(FILES, package_folder)
    (package_folder / "__init__.py").touch()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: outside_members\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[simsurrogate.solvers]\ndecaying_wave = outside_members.decaying_wave:DecayingWave\n"
        "[simsurrogate.surrogates]\nscaled_state = outside_members.scaled_state:ScaledState\n"
    )
    arguments = ("solver=decaying_wave", "surrogate=scaled_state", *SMALL_RUN, f"run={tmp_path / 'run'}")
    paths = [str(site_packages), str(Path(__file__).parents[2])]
    command = [sys.executable, "-m", "pipeline.chain", *arguments]
    require_success(run(command, cwd=tmp_path, PYTHONPATH=":".join(paths)))
    assert (tmp_path / "run" / "models" / "scaled_state" / "evaluation" / "metrics.json").is_file()
