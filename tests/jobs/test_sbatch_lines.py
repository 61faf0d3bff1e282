"""Exact commands that a chain submits, for the shipped YAML and for the YAML of a site."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.jobs.slurm.sbatch import setup_lines
from tests.support import launching
from tests.support.launching import require_success, run_stage

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parents[1] / "golden"
SITE = """\
defaults: [slurm, _self_]
setup: [module load openmpi/5.0, source ~/env/bin/activate]
mpirun: [srun, --mpi=pmix]
sbatch: {all: {partition: batch, exclusive: true}, train: {partition: gpu, nodes: 2, gpus-per-node: 4}}
"""


def dry_run(folder: Path, *overrides: str) -> str:
    """Return the output of a dry run in `folder`, with names in place of the paths of this machine."""
    text = require_success(
        run_stage("chain", *overrides, "experiment=smoke", "dry_run=true", cwd=folder)
    ).stdout
    for path, name in ((folder, "HERE"), (Path(sys.executable).parent, "BIN"), (ROOT, "SOURCES")):
        text = text.replace(str(path), name)
    return text


def test_the_shipped_yaml_produces_the_expected_commands(tmp_path: Path) -> None:
    output = dry_run(tmp_path, "launcher=slurm", "seed=3")
    assert output == (GOLDEN / "slurm_shipped.txt").read_text()
    assert not list(tmp_path.iterdir())


def test_a_site_changes_partition_modules_and_launch_command(tmp_path: Path) -> None:
    (tmp_path / "mysite" / "launcher").mkdir(parents=True)
    (tmp_path / "mysite" / "launcher" / "site.yaml").write_text(SITE)
    overrides = ("--config-dir", "mysite", "launcher=site", "launcher.parts=1", "launcher.ranks.train=4")
    assert dry_run(tmp_path, *overrides) == (GOLDEN / "slurm_site.txt").read_text()


def test_a_sweep_prints_the_jobs_of_its_data_set_once(tmp_path: Path) -> None:
    sweep = ("--multirun", "launcher=slurm", "launcher.parts=1", "surrogate=fno,unet", "training.seed=1,2")
    lines = dry_run(tmp_path, *sweep).splitlines()
    jobs = [
        line.split(":")[0].removeprefix("# ") for line in lines if line.startswith("# ") and " -n " in line
    ]
    models = ["fno-seed-1", "fno-seed-2", "unet-seed-1", "unet-seed-2"]
    stages = [f"{stage}-{model}" for model in models for stage in ("train", "evaluate")]
    assert jobs == ["generate", "validate", *stages]
    trainings = [line for line in lines if "slurm/train.sbatch" in line]
    assert all("'--dependency=afterok:<validate>'" in line for line in trainings)
    assert [line.partition(" model=")[2] for line in trainings] == models


def test_special_characters_are_quoted_in_the_printed_commands(tmp_path: Path) -> None:
    run = r"""run="it's $(touch x); a [b], \"c\" 50%" """.strip()
    output = dry_run(tmp_path, "launcher=slurm", "launcher.parts=1", run)
    assert output == (GOLDEN / "slurm_awkward.txt").read_text()


def test_a_dry_run_prints_the_commands_of_the_stages(tmp_path: Path) -> None:
    output = dry_run(tmp_path, "launcher.ranks.generate=1").splitlines()
    assert output[0] == "BIN/python -P -m pipeline.generate launcher.ranks.generate=1 experiment=smoke"
    assert "-n 2" in output[1]
    assert [line.split("pipeline.")[1].split()[0] for line in output] == [
        "generate",
        "validate",
        "train",
        "evaluate",
    ]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("launcher.parts=0",), "launcher.parts=0"),
        (("launcher.ranks.generate=3", "group_size=2"), "do not divide into groups of group_size=2"),
        (("+launcher.sbatch.trian.time=1",), "launcher.sbatch.trian"),
        (("run='a\\b'",), "no backslash"),
    ],
)
def test_a_wrong_option_of_the_launcher_is_refused(
    tmp_path: Path, overrides: tuple[str, ...], message: str
) -> None:
    result = run_stage("chain", "launcher=slurm", "dry_run=true", *overrides, cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_missing_slurm_is_reported(tmp_path: Path) -> None:
    result = run_stage("chain", "launcher=slurm", "experiment=smoke", cwd=tmp_path, PATH="/nowhere")
    assert result.returncode == 2
    assert "sbatch was not found" in result.stderr


@pytest.mark.parametrize("stage", ["generate", "evaluate"])
def test_each_line_of_setup_is_checked(tmp_path: Path, stage: str) -> None:
    setup = tmp_path / "setup.sh"

    def run_script(lines: list[str]) -> subprocess.CompletedProcess[str]:
        setup.write_text("\n".join(setup_lines(lines)))
        script = str(ROOT / "slurm" / f"{stage}.sbatch")
        return launching.run(["bash", script, "--version"], SIMSURROGATE_SETUP=str(setup))

    failed = run_script(["true", "load() { return 7; }", "load 'open mpi'/9.9  # the site's", "echo later"])
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith(
        "error: a line of launcher.setup failed with exit code 7: load 'open mpi'/9.9"
    )
    lines = ["if false; then", "false", "fi", "false || true", 'export OWN="it\'s set"', 'echo "$OWN"']
    succeeded = run_script(lines)
    assert succeeded.returncode == 0, succeeded.stderr
    assert succeeded.stdout.startswith("it's set\nsimsurrogate ")


def test_the_batch_scripts_name_no_site() -> None:
    for name in ("generate", "validate", "train", "evaluate"):
        text = (ROOT / "slurm" / f"{name}.sbatch").read_text()
        assert text.startswith("#!/bin/bash\n")
        assert f'exec python -m pipeline.jobs.step {name} "$@"' in text
        assert not [line for line in text.splitlines() if line.startswith("#SBATCH") and "partition" in line]
