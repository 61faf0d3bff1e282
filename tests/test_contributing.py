"""The worked example of CONTRIBUTING.md: it runs as printed, and an error in it names its file."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.launching import run

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
FILES = dict(re.findall(r"`([\w/]+\.(?:py|yaml))`[^`\n]*:\n\n```(?:python|yaml)\n(.*?)```", TEXT, re.DOTALL))
SMALL_RUN = (
    "run=run", "samples={train: 8, valid: 2, test: 2, per_shard: 4}", "output.duration=0.2",
    "training.steps=500", "training.learning_rate=0.05",
)  # fmt: skip


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the packages with the files of the example and no other change."""
    folder = tmp_path_factory.mktemp("contributing") / "checkout"
    # The copies keep the bytecode, which compares the times of the sources.
    for package in ("simsurrogate", "solvers", "surrogates", "pipeline", "configs", "slurm", "tests"):
        shutil.copytree(ROOT / package, folder / package)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name, content in FILES.items():
        assert not (folder / name).exists()
        (folder / name).write_text(content)
    return folder


def run_python(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, *arguments], cwd=checkout, PYTHONPATH=str(checkout))


def test_the_example_has_all_files() -> None:
    assert set(FILES) == {
        "solvers/advection.py",
        "configs/solver/advection.yaml",
        "tests/solvers/test_advection.py",
        "surrogates/stencil.py",
        "configs/surrogate/stencil.yaml",
    }


def test_the_example_passes_the_linter(checkout: Path) -> None:
    result = run_python(checkout, "-m", "ruff", "check", *(name for name in FILES if name.endswith(".py")))
    assert result.returncode == 0, result.stdout


def test_the_contract_tests_find_the_new_solver_and_the_new_surrogate(checkout: Path) -> None:
    tests = (
        "tests/solvers/test_advection.py",
        "tests/contracts/test_solvers.py",
        "tests/contracts/test_solver_orders.py",
        "tests/contracts/test_ranks.py",
        "tests/contracts/test_surrogates.py",
        "tests/contracts/test_surrogate_refusals.py",
    )
    result = run_python(checkout, "-m", "pytest", "-q", "-k", "advection or stencil", *tests)
    assert result.returncode == 0, result.stdout + result.stderr
    assert int(re.search(r"(\d+) passed", result.stdout)[1]) > 20  # type: ignore[index]


def test_the_chain_runs_and_the_surrogate_beats_persistence(checkout: Path) -> None:
    arguments = ("-m", "pipeline.chain", "solver=advection", "surrogate=stencil", *SMALL_RUN)
    result = run_python(checkout, *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    metrics = json.loads((checkout / "run/models/stencil/evaluation/metrics.json").read_text())
    headline = metrics["splits"]["test"]["headline"]
    assert headline["surrogate"]["rollout_end"]["median"] < 0.03
    assert headline["persistence"]["rollout_end"]["median"] > 0.1


def test_a_wrong_shape_causes_a_traceback_that_names_the_file(checkout: Path, tmp_path: Path) -> None:
    wrong_checkout = tmp_path / "checkout"
    shutil.copytree(checkout, wrong_checkout, ignore=shutil.ignore_patterns("tests"))
    path = wrong_checkout / "solvers" / "advection.py"
    path.write_text(path.read_text().replace("return np.expand_dims(u, 0)", "return u"))
    result = run_python(wrong_checkout, "-m", "pipeline.generate", "solver=advection", "run=wrong")
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert str(path) in result.stderr


def test_a_wrong_shape_of_the_surrogate_names_the_file_and_the_shape(checkout: Path, tmp_path: Path) -> None:
    wrong_checkout = tmp_path / "checkout"
    shutil.copytree(checkout, wrong_checkout, ignore=shutil.ignore_patterns("tests"))
    path = wrong_checkout / "surrogates" / "stencil.py"
    path.write_text(path.read_text().replace("return change_BXC", "return change_BXC[..., 0]"))
    arguments = ("solver=advection", "surrogate=stencil", *SMALL_RUN[1:], "run=wrong")
    for stage in ("generate", "validate"):
        assert run_python(wrong_checkout, "-m", f"pipeline.{stage}", *arguments).returncode == 0
    result = run_python(wrong_checkout, "-m", "pipeline.train", *arguments)
    assert result.returncode == 1
    assert (
        f"{path}: Stencil.increment returns the shape (16, 64). It has to return the shape (16, 64, 1)"
        in result.stderr
    )
