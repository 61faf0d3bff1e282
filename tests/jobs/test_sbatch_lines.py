"""The lines that a chain submits, word for word, for the shipped YAML and for a site's own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support import launching
from tests.support.launching import succeeded

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parents[1] / "golden"
SITE = """\
defaults: [slurm, _self_]
setup: [module load openmpi/5.0, source ~/env/bin/activate]
mpirun: [srun, --mpi=pmix]
sbatch: {all: {partition: batch, exclusive: true}, train: {partition: gpu, nodes: 2, gpus-per-node: 4}}
"""


def lines(folder: Path, *words: str) -> str:
    """What a dry run in `folder` prints, with places of this machine named."""
    command = [sys.executable, "-m", "pipeline.chain", *words, "experiment=smoke", "dry_run=true"]
    text = succeeded(launching.run(command, cwd=folder)).stdout
    for place, name in ((folder, "HERE"), (Path(sys.executable).parent, "BIN"), (ROOT, "SOURCES")):
        text = text.replace(str(place), name)
    return text


def test_the_shipped_yaml(tmp_path: Path) -> None:
    said = lines(tmp_path, "launcher=slurm", "seed=3")
    assert said == (GOLDEN / "slurm_shipped.txt").read_text()
    assert not list(tmp_path.iterdir())


def test_a_site_changes_partition_modules_and_launch_line(tmp_path: Path) -> None:
    (tmp_path / "mysite" / "launcher").mkdir(parents=True)
    (tmp_path / "mysite" / "launcher" / "site.yaml").write_text(SITE)
    words = ("--config-dir", "mysite", "launcher=site", "launcher.parts=1", "launcher.ranks.train=4")
    assert lines(tmp_path, *words) == (GOLDEN / "slurm_site.txt").read_text()


def test_awkward_words_are_quoted_for_the_reader_alone(tmp_path: Path) -> None:
    run = r"""run="it's $(touch x); a [b], \"c\" 50%" """.strip()
    said = lines(tmp_path, "launcher=slurm", "launcher.parts=1", run)
    assert said == (GOLDEN / "slurm_awkward.txt").read_text()


def test_a_dry_run_prints_the_commands_of_the_stages(tmp_path: Path) -> None:
    said = lines(tmp_path, "launcher.ranks.generate=1").splitlines()
    assert said[0] == "BIN/python -P -m pipeline.generate launcher.ranks.generate=1 experiment=smoke"
    assert "-n 2" in said[1]
    assert [line.split("pipeline.")[1].split()[0] for line in said] == [
        "generate",
        "validate",
        "train",
        "evaluate",
    ]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("launcher.parts=0",), "launcher.parts=0"),
        (("launcher.ranks.generate=3", "group_size=2"), "do not divide into groups of group_size=2"),
        (("+launcher.sbatch.trian.time=1",), "launcher.sbatch.trian"),
        (("run='a\\b'",), "no backslash"),
    ],
)
def test_a_wrong_line_of_the_launcher_is_refused(
    tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    command = [sys.executable, "-m", "pipeline.chain", "launcher=slurm", "dry_run=true", *words]
    refused = launching.run(command, cwd=tmp_path)
    assert refused.returncode == 2
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr


def test_without_slurm_the_chain_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipeline.chain", "launcher=slurm", "experiment=smoke"]
    refused = launching.run(command, cwd=tmp_path, PATH="/nowhere")
    assert refused.returncode == 2
    assert "sbatch was not found" in refused.stderr


def test_the_batch_scripts_name_no_site() -> None:
    for name in ("generate", "validate", "train", "evaluate"):
        text = (ROOT / "slurm" / f"{name}.sbatch").read_text()
        assert text.startswith("#!/bin/bash\n")
        assert text.rstrip().endswith(f'exec python -m pipeline.jobs.step {name} "$@"')
        assert not [line for line in text.splitlines() if line.startswith("#SBATCH") and "partition" in line]
