"""The site's defaults by environment variables, which an administrator sets in a module file."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import overrides
from pipeline.config.site import with_site_defaults
from simsurrogate.errors import UserError
from tests.support.launching import require_success, run_stage

SITE = "defaults: [slurm, _self_]\nparts: 1\nmpirun: {all: [srun, --mpi=pmix], train: [jsrun]}\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a site with a blank and a quote in its path."""
    folder = tmp_path / "the site's"
    (folder / "launcher").mkdir(parents=True)
    (folder / "launcher" / "site.yaml").write_text(SITE)
    monkeypatch.setenv("SIMSURROGATE_CONFIG_DIR", str(folder))
    monkeypatch.setenv("SIMSURROGATE_LAUNCHER", "site")
    return folder


def test_a_chain_uses_the_launcher_of_the_site_and_its_jobs_need_no_variable(
    site: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    (own / "experiment").mkdir(parents=True)
    (own / "experiment" / "mine.yaml").write_text("# @package _global_\ntraining: {steps: 7}\n")
    arguments = ("--config-dir", str(own), "experiment=mine", f"run={tmp_path}/run", "dry_run=true")
    lines = require_success(run_stage("chain", *arguments, cwd=tmp_path)).stdout.splitlines()
    launch_lines = [line.partition(": ")[2] for line in lines if line.startswith("# ") and " -n " in line]
    assert launch_lines == [
        "srun --mpi=pmix -n 2 python -m pipeline.generate ...",
        "srun --mpi=pmix -n 2 python -m pipeline.validate ...",
        "jsrun -n 1 python -m pipeline.train ...",
        "srun --mpi=pmix -n 1 python -m pipeline.evaluate ...",
    ]
    jobs = [line for line in lines if "sbatch --parsable" in line]
    assert all(f"--config-dir {own}" in line and "launcher=site " in line for line in jobs)
    assert all("hydra.searchpath=" in line for line in jobs)


def test_typed_arguments_take_precedence(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["-m", "launcher=local", "hydra.searchpath=[]", "seed=1,2"]
    assert with_site_defaults(arguments) == arguments
    monkeypatch.delenv("SIMSURROGATE_CONFIG_DIR")
    monkeypatch.setenv("SIMSURROGATE_LAUNCHER", "slurm")
    assert with_site_defaults(["-m", "seed=1"]) == ["-m", "launcher=slurm", "seed=1"]
    monkeypatch.delenv("SIMSURROGATE_LAUNCHER")
    assert with_site_defaults(["seed=1"]) == ["seed=1"]


def test_variables_that_name_nothing_are_refused(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMSURROGATE_LAUNCHER", "siet")
    with pytest.raises(UserError, match=r"SIMSURROGATE_LAUNCHER=siet names no launcher.* local, site, slurm"):
        with_site_defaults([])
    monkeypatch.setenv("SIMSURROGATE_CONFIG_DIR", "/nowhere")
    with pytest.raises(UserError, match="SIMSURROGATE_CONFIG_DIR=/nowhere names no folder"):
        with_site_defaults([])


def test_overrides_are_inserted_next_to_other_overrides() -> None:
    arguments = ["--config-dir", "a=b", "-m", "seed=1", "dry_run=true"]
    assert overrides.inserted(["x=1"], arguments) == [
        "--config-dir",
        "a=b",
        "-m",
        "x=1",
        "seed=1",
        "dry_run=true",
    ]
    assert overrides.inserted(["x=1"], ["--multirun"]) == ["--multirun", "x=1"]
