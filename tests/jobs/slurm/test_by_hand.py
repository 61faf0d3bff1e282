"""The batch scripts submitted by hand: from sbatch to the report, with hostile overrides as plain text."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.jobs.slurm.chains import SMOKE, batch_script, records
from tests.jobs.slurm.cluster import Cluster

STAGES = {"generate": 2, "validate": 2, "train": 2, "evaluate": 1}
#: A name with characters that a shell, sbatch or Hydra might interpret.
HOSTILE = '$(touch a); `touch b` & touch c | touch d > e # [f,g] {h: i} "j" it\'s ${HOME} %j\ttab *'


def test_the_batch_scripts_end_with_a_report(cluster: Cluster, tmp_path: Path) -> None:
    """Each job waits for the previous job; the overrides pass through sbatch, bash and mpirun."""
    run = tmp_path / HOSTILE
    dependency: list[str] = []
    for name, ranks in STAGES.items():
        options = [f"--ntasks={ranks}", f"--nodes={ranks}", f"--output={tmp_path}/{name}.txt", *dependency]
        words = [SMOKE, f"run={hydra_text(str(run))}", "training.steps=10"]
        number = cluster.sbatch(*options, str(batch_script(name)), *words, cwd=tmp_path)
        dependency = [f"--dependency=afterok:{number}", "--kill-on-invalid-dep=yes"]
    cluster.succeeded(number)
    for name, ranks in STAGES.items():
        (record,) = records(run, name)
        assert record["outcome"] == "complete"
        assert record["ranks"] == ranks
        assert record["configuration"]["run"] == str(run)
    assert records(run, "train")[0]["nodes"] == {"n1": 1, "n2": 1}
    assert (run / "models" / "fno" / "evaluation" / "report.html").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [HOSTILE, *(f"{name}.txt" for name in STAGES)]
    )


def hydra_text(text: str) -> str:
    """Return the text quoted in Hydra's grammar, so that no character has a special meaning."""
    return "'" + text.replace("'", "\\'").replace("${", "\\${") + "'"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("+x._target_=os.system", "x: there is no such key"),
        ("solver={_target_: os.system, command: touch a}", "_target_"),
        ("solver.name=os.system", "os.system"),
        ("run=$(touch a)", "mismatched input '('"),
        ("samples.train=`touch a`", "touch a"),
        ("seed=1; touch a", "touch a"),
        ("seed='1 2'", "1 2"),
        ("run=${oc.env:HOME,[}", "${oc.env:HOME,[}"),
    ],
)
def test_hostile_overrides_are_refused_as_text(
    cluster: Cluster, tmp_path: Path, word: str, message: str
) -> None:
    """The batch script refuses the override on a node, and the chain before it submits a job."""
    script = str(batch_script("generate"))
    number = cluster.sbatch(f"--output={tmp_path}/log.txt", script, SMOKE, word, cwd=tmp_path)
    before = cluster.jobs().keys()
    chain = cluster.run(
        ["python", "-m", "pipeline.chain", SMOKE, "launcher=slurm", word], timeout=60, cwd=tmp_path
    )
    assert chain.returncode == 2, chain.stdout
    assert cluster.jobs().keys() == before
    job = cluster.wait(number, seconds=60)
    log = (tmp_path / "log.txt").read_text()
    assert job["ExitCode"] == "2:0", log
    for output in (chain.stderr, log):
        assert message in output
        assert "Traceback" not in output
    assert [path.name for path in tmp_path.iterdir()] == ["log.txt"]
