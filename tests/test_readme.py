"""Commands and Python examples of the README, run as printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.launching import environment

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
COMMANDS = [
    line for block in re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL) for line in block.strip().splitlines()
]
PROGRAMS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
# test_demo.py runs `make demo`.
RUN_COMMANDS = [command for command in COMMANDS if not command.startswith("make ")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme")


def run_in_shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euc", command],
        cwd=folder,
        env=environment(PATH=path),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.timeout(1500)
def test_the_commands_run_in_order(folder: Path) -> None:
    assert len(RUN_COMMANDS) >= 8
    for command in RUN_COMMANDS:
        result = run_in_shell(command, folder)
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    assert (folder / "runs/first/models/fno/evaluation/report.html").exists()
    assert (folder / "runs/first/models/unet/evaluation/report.html").exists()
    assert (folder / "runs/mine/models/fno/evaluation/report.html").exists()
    for program in PROGRAMS:
        result = subprocess.run(
            [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stderr
        assert "ExtrapolationWarning" not in result.stderr


def test_the_linked_pages_exist() -> None:
    for target in re.findall(r"\]\(([\w./-]+)\)", TEXT):
        assert (ROOT / target).exists(), target
