"""`make demo` in a copy of the checkout, from nothing, keeps what is promised of its surrogate."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.launching import environment, succeeded

ROOT = Path(__file__).parents[1]
ELSEWHERE = shutil.ignore_patterns(
    ".venv", ".git", "runs", "build", "dist", "*_cache", ".hypothesis", "__pycache__"
)


@pytest.mark.timeout(2400)
def test_the_surrogate_is_within_five_percent_and_ten_times_below_persistence(tmp_path: Path) -> None:
    shutil.copytree(ROOT, tmp_path / "copy", ignore=ELSEWHERE)
    inherited = environment()
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        inherited.pop(name)
    result = subprocess.run(
        ["make", "demo"], cwd=tmp_path / "copy", env=inherited, capture_output=True, text=True, check=False
    )
    report = tmp_path / "copy" / succeeded(result).stdout.rstrip().splitlines()[-1]
    assert report.name == "report.html"
    assert report.is_file()
    errors = json.loads((report.parent / "metrics.json").read_text())["splits"]["test"]["errors"]
    end = {
        predictor: errors[predictor]["roll_out"]["relative_l2"]["temperature"]["mean"][-1]
        for predictor in ("surrogate", "persistence")
    }
    assert end["surrogate"] <= 0.05
    assert end["persistence"] >= 10 * end["surrogate"]
