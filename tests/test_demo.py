"""What the README says first: `make demo` from nothing keeps its promise, and one can go on by hand."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.launching import environment, succeeded

ROOT = Path(__file__).parents[1]
ELSEWHERE = shutil.ignore_patterns(
    ".venv", ".git", "runs", "build", "dist", "*_cache", ".hypothesis", "__pycache__"
)


def run_there(folder: Path, commands: str) -> str:
    inherited = environment()
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        inherited.pop(name)
    command = ["bash", "-euc", commands]
    result = subprocess.run(command, cwd=folder, env=inherited, capture_output=True, text=True, check=False)
    return succeeded(result).stdout


@pytest.mark.timeout(2400)
def test_the_surrogate_is_within_five_percent_and_ten_times_below_persistence(tmp_path: Path) -> None:
    shutil.copytree(ROOT, tmp_path / "copy", ignore=ELSEWHERE)
    printed = run_there(tmp_path / "copy", "make demo")
    report = tmp_path / "copy" / printed.rstrip().splitlines()[-1]
    assert report.name == "report.html"
    assert report.is_file()
    errors = json.loads((report.parent / "metrics.json").read_text())["splits"]["test"]["errors"]
    end = {
        predictor: errors[predictor]["rollout"]["relative_l2"]["temperature"]["mean"][-1]
        for predictor in ("surrogate", "persistence")
    }
    assert end["surrogate"] <= 0.05
    assert end["persistence"] >= 10 * end["surrogate"]
    (by_hand,) = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    overview = run_there(tmp_path / "copy", f"{by_hand}\nwhich python\npython -m pipeline")
    assert str(tmp_path / "copy" / ".venv") in overview
    assert "heat_fno" in overview
