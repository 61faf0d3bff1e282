"""Batch scripts submitted by hand: from sbatch to the report, with hostile overrides as plain text."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.jobs.slurm.chains import SMOKE, batch_script, records
from tests.jobs.slurm.cluster import Cluster
from tests.support import forked

pytestmark = pytest.mark.usefixtures("forked_stages")

STAGES = {"generate": 2, "validate": 2, "train": 2, "evaluate": 1}
#: A name with characters that a shell, sbatch or Hydra might interpret.
HOSTILE_NAME = '$(touch a); `touch b` & touch c | touch d > e # [f,g] {h: i} "j" it\'s ${HOME} %j\ttab *'


def test_the_batch_scripts_end_with_a_report(cluster: Cluster, tmp_path: Path) -> None:
    # Each job waits for the previous job. The overrides pass through sbatch, bash and mpirun.
    run = tmp_path / HOSTILE_NAME
    dependency: list[str] = []
    for name, ranks in STAGES.items():
        options = [f"--ntasks={ranks}", f"--nodes={ranks}", f"--output={tmp_path}/{name}.txt", *dependency]
        overrides = [SMOKE, f"run={hydra_text(str(run))}", "training.steps=10"]
        job_number = cluster.sbatch(*options, str(batch_script(name)), *overrides, cwd=tmp_path)
        dependency = [f"--dependency=afterok:{job_number}", "--kill-on-invalid-dep=yes"]
    cluster.require_completion(job_number)
    for name, ranks in STAGES.items():
        (record,) = records(run, name)
        assert record["outcome"] == "complete"
        assert record["ranks"] == ranks
        assert record["configuration"]["run"] == str(run)
    assert records(run, "train")[0]["nodes"] == {"n1": 1, "n2": 1}
    assert (run / "models" / "fno" / "evaluation" / "report.html").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [HOSTILE_NAME, *(f"{name}.txt" for name in STAGES)]
    )


def hydra_text(text: str) -> str:
    """Return the text quoted in Hydra's grammar, in which no character has a special meaning."""
    return "'" + text.replace("'", "\\'").replace("${", "\\${") + "'"


#: Hostile overrides, and a part of the message of each refusal.
HOSTILE_OVERRIDES = (
    ("+x._target_=os.system", "x: there is no such key"),
    ("solver={_target_: os.system, command: touch a}", "_target_"),
    ("solver.name=os.system", "os.system"),
    ("run=$(touch a)", "mismatched input '('"),
    ("samples.train=`touch a`", "touch a"),
    ("seed=1; touch a", "touch a"),
    ("seed='1 2'", "1 2"),
    ("run=${oc.env:HOME,[}", "${oc.env:HOME,[}"),
)


@pytest.fixture(scope="module")
def hostile_jobs(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, Path]]:
    """Return a submitted job and its empty working folder by hostile override."""
    jobs = {}
    with cluster.forked_stages():
        for override, _ in HOSTILE_OVERRIDES:
            folder = tmp_path_factory.mktemp("hostile")
            arguments = (f"--output={folder}/log.txt", str(batch_script("generate")), SMOKE, override)
            jobs[override] = cluster.sbatch(*arguments, cwd=folder), folder
    return jobs


@pytest.mark.parametrize(("override", "message"), HOSTILE_OVERRIDES)
@pytest.mark.fault(
    "an override holds code, in a batch job",
    cause="{override}",
    result="refused as text; nothing is executed",
    lost="nothing",
)
def test_hostile_overrides_are_refused_as_text(
    cluster: Cluster, hostile_jobs: dict[str, tuple[int, Path]], override: str, message: str
) -> None:
    # The batch script refuses the override on a node. The chain refuses the override before any submission.
    job_number, folder = hostile_jobs[override]
    jobs_before = cluster.jobs().keys()
    result = forked.run_stage(
        "chain",
        *(SMOKE, "launcher=slurm", override),
        timeout=60,
        cwd=folder,
        environment=cluster.environment(),
    )
    assert result.returncode == 2, result.stdout
    assert cluster.jobs().keys() == jobs_before
    job = cluster.wait(job_number, seconds=60)
    log = (folder / "log.txt").read_text()
    assert job["ExitCode"] == "2:0", log
    for output in (result.stderr, log):
        assert message in output
        assert "Traceback" not in output
    assert [path.name for path in folder.iterdir()] == ["log.txt"]
