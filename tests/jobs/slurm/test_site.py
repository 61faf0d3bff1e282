"""A site's YAML on a real Slurm: partition, setup lines, and a launch command that does not fit the MPI."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.jobs.slurm.chains import (
    JOBS,
    SMOKE,
    final_states,
    job_numbers,
    logs,
    records,
    run_chain,
    submitted_jobs,
)
from tests.jobs.slurm.cluster import Cluster
from tests.support.launching import require_success

pytestmark = pytest.mark.usefixtures("forked_stages")
SITE = """\
defaults: [slurm, _self_]
parts: 1
setup: ["export OF_THE_SITE='$HOME is not expanded'", 'echo "setup: $OF_THE_SITE"']
mpirun: [srun, --mpi=none]
sbatch: {all: {partition: other}, train: {nodes: 2}}
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return the configuration folder of a site, with a space in its name."""
    folder = tmp_path / "my site"
    (folder / "launcher").mkdir(parents=True)
    (folder / "launcher" / "site.yaml").write_text(SITE)
    return folder


@pytest.mark.fault(
    "srun starts ranks that MPI does not see",
    cause="srun with Open MPI's wheel, 2 ranks",
    result="the job fails with the numbers and the remedy; the later jobs are cancelled",
    lost="nothing",
)
def test_single_rank_worlds_stop_the_chain_until_the_launch_command_fits(
    cluster: Cluster, site: Path, tmp_path: Path
) -> None:
    # Under srun each rank of Open MPI's wheel is a world of one rank.
    # A stage of one rank needs no launch command, and the ranks of train connect without MPI.
    run = tmp_path / "run"
    overrides = ("--config-dir", str(site), "launcher=site", "launcher.ranks.train=2", SMOKE)
    require_success(run_chain(cluster, run, *overrides))
    states_by_name = final_states(cluster, run)
    assert states_by_name == {"generate": "FAILED"} | dict.fromkeys(JOBS[2:], "CANCELLED")
    status_text = require_success(run_chain(cluster, run, "status")).stdout
    assert "generate failed: srun started 2 ranks, but MPI (Open MPI" in status_text
    assert " days" not in status_text, "the cancelled jobs have no elapsed time"
    assert str(run / "jobs" / "logs" / f"generate-{job_numbers(run)['generate']}.out") in status_text
    log_text = logs(run)
    assert "srun started 2 ranks, but MPI (Open MPI" in log_text
    assert "setup: $HOME is not expanded" in log_text
    assert "Traceback" not in log_text
    assert not (run / "dataset").exists()
    single_rank_overrides = ("launcher.ranks.generate=1", "launcher.ranks.validate=1")
    require_success(run_chain(cluster, run, "resume", *single_rank_overrides))
    assert set(final_states(cluster, run).values()) == {"COMPLETED"}, logs(run)
    (record,) = records(run, "train")
    assert record["launcher"] == "srun"
    assert record["nodes"] == {"n1": 1, "n2": 1}
    assert {cluster.job(number)["Partition"] for number in job_numbers(run).values()} == {"other"}
    assert [job["name"] for job in submitted_jobs(run)] == 2 * ["generate", *JOBS[2:]]
