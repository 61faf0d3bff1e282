"""The demo of the README: `make demo` in a fresh copy, and the next commands."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.launching import environment, require_success

ROOT = Path(__file__).parents[1]
CACHES = shutil.ignore_patterns("*_cache", "__pycache__")


def omitted_names(folder: str, names: list[str]) -> set[str]:
    """Return the names that a copy omits: caches, and the environment and outputs in the top folder."""
    outputs = {".venv", ".git", "runs", "build", "dist", ".hypothesis"} if Path(folder) == ROOT else set()
    return CACHES(folder, names) | outputs


def run_commands(folder: Path, commands: str) -> str:
    # One thread for each rank: on cores that other tests use, two threads spend most of their time waiting.
    command = ["bash", "-euc", commands]
    result = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    return require_success(result).stdout


@pytest.mark.timeout(2400)
def test_the_surrogate_is_accurate_and_the_demo_ends_with_what_it_is_worth(tmp_path: Path) -> None:
    shutil.copytree(ROOT, tmp_path / "copy", ignore=omitted_names)
    output = run_commands(tmp_path / "copy", "make demo")
    last_line = output.rstrip().splitlines()[-1]
    match = re.fullmatch(
        r"chain: wrote (.+)\. Next: python -m pipeline\.compare runs/shear_layers", last_line
    )
    assert match, last_line
    report = tmp_path / "copy" / match[1]
    assert report.name == "report.html"
    assert report.is_file()
    assert re.search(
        r"^One query costs .* for the same error .* \(speed-up at equal error ", output, re.MULTILINE
    )
    metrics = json.loads((report.parent / "metrics.json").read_text())
    assert len(metrics["worth"]["trajectories"]) == 4
    errors = metrics["splits"]["test"]["errors"]
    final_errors = {
        predictor: errors[predictor]["rollout"]["relative_l2"]["vorticity"]["mean"][-1]
        for predictor in ("surrogate", "persistence")
    }
    assert final_errors["surrogate"] <= 0.02
    assert final_errors["persistence"] >= 50 * final_errors["surrogate"]
    (readme_commands,) = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    overview = run_commands(tmp_path / "copy", f"{readme_commands}\nwhich python\npython -m pipeline")
    assert str(tmp_path / "copy" / ".venv") in overview
    assert "shear_layers" in overview
