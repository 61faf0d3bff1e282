"""The recipes of docs/workflows.md: Snakemake and Parsl run chains with their local executors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support import launching
from tests.support.launching import require_success

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "examples" / "workflows"
#: A launch line that starts no rank of the stage generate.
FAILING = "launcher.mpirun=[/bin/true]"


def run_snakemake(folder: Path, *configuration: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--snakefile", str(RECIPES / "Snakefile")]
    values = ["experiment=smoke", "run=runs/smoke", "surrogates=fno", *configuration]
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    return launching.run([*command, "--config", *values], cwd=folder, PATH=path, PYTHONPATH=str(ROOT))


def run_parsl(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RECIPES / "parsl_chains.py"), "runs"]
    return launching.run([*command, *arguments], cwd=folder, PYTHONPATH=str(ROOT))


def test_snakemake_runs_a_chain_and_a_failed_stage_fails_the_workflow(tmp_path: Path) -> None:
    failed = run_snakemake(tmp_path, f"options={FAILING}")
    assert failed.returncode == 1
    assert "Error in rule chain" in failed.stdout + failed.stderr
    assert "exit code 0, but generate is not complete" in failed.stdout + failed.stderr
    options = "options=launcher.ranks.generate=1 launcher.ranks.validate=1 evaluation.figures=0"
    require_success(run_snakemake(tmp_path, options))
    run = tmp_path / "runs" / "smoke"
    assert (run / "models" / "fno" / "evaluation" / "report.html").is_file()
    assert "fno" in (run / "comparison.txt").read_text()


def test_parsl_runs_chains_and_a_failed_chain_fails_the_workflow(tmp_path: Path) -> None:
    (tmp_path / "runs" / "seed-2").mkdir(parents=True)
    (tmp_path / "runs" / "seed-2" / "dataset").write_text("a file in place of a folder")
    options = ("launcher.ranks={generate: 1, validate: 1}", "evaluation.figures=0")
    result = run_parsl(tmp_path, "1,2", "experiment=smoke", *options)
    assert result.returncode == 1
    report = "runs/seed-1/models/fno/evaluation/report.html"
    assert f"report: {report}" in result.stdout
    assert (tmp_path / report).is_file()
    assert "'run=runs/seed-2']' returned non-zero exit status 2" in result.stderr
