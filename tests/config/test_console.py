"""The console command `simsurrogate`, in folders that are named like the packages of the project."""

from __future__ import annotations

import importlib.metadata
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.launching import SMALL_DATASET, require_success, run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """Return the command of the entry point in pyproject.toml, next to folders named like the packages."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, function = project["scripts"]["simsurrogate"].partition(":")
    script = tmp_path / "bin" / "simsurrogate"
    script.parent.mkdir()
    script.write_text(f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n")
    for name in ("solvers", "surrogates", "configs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('a folder of the user')")
    return [sys.executable, str(script)]


def test_stages_run_next_to_folders_of_the_same_names(command: list[str], tmp_path: Path) -> None:
    arguments = ["generate", *SMALL_DATASET, "run=here"]
    require_success(run([*command, *arguments], cwd=tmp_path, PYTHONPATH=str(ROOT)))
    assert (tmp_path / "here" / "dataset" / "manifest.json").is_file()
    arguments = [
        "chain",
        "experiment=smoke",
        "run=there",
        *SMALL_DATASET,
        "launcher.ranks.generate=1",
        "dry_run=true",
    ]
    result = require_success(run([*command, *arguments], cwd=tmp_path, PYTHONPATH=str(ROOT)))
    commands = result.stdout.splitlines()
    assert commands[0].split()[1:4] == ["-P", "-m", "pipeline.generate"]


def test_the_command_without_arguments_lists_all_commands(command: list[str], tmp_path: Path) -> None:
    overview = require_success(run(command, cwd=tmp_path, PYTHONPATH=str(ROOT))).stdout
    for name in ("generate", "validate", "train", "evaluate", "chain", "compare", "heat", "fno", "smoke"):
        assert f" {name} " in overview


def test_an_unknown_command_is_refused(command: list[str], tmp_path: Path) -> None:
    result = run([*command, "trian"], cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert result.returncode == 2
    assert "'trian' is not a command" in result.stderr


def test_help_and_version_are_those_of_the_pipeline(command: list[str], tmp_path: Path) -> None:
    version = f"simsurrogate {importlib.metadata.version('simsurrogate')}\n"
    for arguments in (["--version"], ["train", "--version"]):
        assert (
            require_success(run([*command, *arguments], cwd=tmp_path, PYTHONPATH=str(ROOT))).stdout == version
        )
    text = require_success(run([*command, "train", "--help"], cwd=tmp_path, PYTHONPATH=str(ROOT))).stdout
    assert text.startswith("The train stage: ")
    assert "run=FOLDER" in text
    assert "Powered by Hydra" not in text
