"""Ranks started by Slurm: ranks on two nodes form one world, and a rank without its peers ends."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.driving import read_generated
from tests.jobs.slurm.chains import RANK_ON_EACH_NODE, SMOKE, records
from tests.jobs.slurm.cluster import Cluster, wait_until
from tests.support.launching import require_success, run_stage

pytestmark = pytest.mark.usefixtures("forked_stages")


def submit_on_both_nodes(cluster: Cluster, folder: Path, command: list[str]) -> int:
    """Submit a command with one rank on each of two nodes, and return the job's number."""
    return cluster.sbatch(*RANK_ON_EACH_NODE, f"--output={folder}/log.txt", f"--wrap={shlex.join(command)}")


def test_mpi_ranks_on_two_nodes_share_trajectories(cluster: Cluster, tmp_path: Path) -> None:
    # Each node solves half of the grid. The shards equal the shards of two ranks on this machine.
    folders = [tmp_path / name for name in ("slurm", "here")]
    overrides = [SMOKE, "group_size=2"]
    command = ["python", "-m", "pipeline.generate", *overrides, f"run={folders[0]}"]
    # Both nodes are this machine: with binding, both ranks would be on the same first core.
    job_number = submit_on_both_nodes(cluster, tmp_path, ["mpirun", "--bind-to", "none", "-n", "2", *command])
    require_success(run_stage("generate", *overrides, f"run={folders[1]}", ranks=2))
    cluster.require_completion(job_number)
    (record,) = records(folders[0], "generate")
    assert record["nodes"] == {"n1": 1, "n2": 1}
    assert record["slurm"]["job"] == str(job_number)
    assert read_generated(folders[0]) == read_generated(folders[1])


def test_ddp_ranks_on_two_nodes_train_the_same_weights(
    cluster: Cluster, validated_data: Path, trained_model: Path, tmp_path: Path
) -> None:
    # The weights of two ranks under srun equal the weights of two ranks under mpirun.
    folders = [tmp_path / "srun", trained_model]
    command = [
        "python",
        "-m",
        "pipeline.train",
        SMOKE,
        f"run={folders[0]}",
        f"dataset={validated_data}/dataset",
    ]
    job_number = submit_on_both_nodes(cluster, tmp_path, ["srun", "--mpi=none", *command])
    cluster.require_completion(job_number)
    (record,) = records(folders[0], "train")
    assert record["nodes"] == {"n1": 1, "n2": 1}
    weights = [(folder / "models" / "fno" / "model.safetensors").read_bytes() for folder in folders]
    assert weights[0] == weights[1]


@pytest.mark.fault(
    "one of two ranks of a training never starts",
    cause="srun with one task of a job of two",
    result="the rank ends with a message after 2 minutes",
    lost="nothing",
)
def test_a_rank_without_its_peers_ends_with_an_error(cluster: Cluster, lonely_rank: tuple[int, Path]) -> None:
    job_number, folder = lonely_rank
    ending = cluster.wait_for_end(job_number, seconds=180)
    log = (folder / "log.txt").read_text()
    assert ending == ("FAILED", "2:0"), log
    assert "rank 1 of 2, started by srun, does not reach the others within 0:02:00" in log
    assert "is the run folder the same on all nodes?" in log
    assert "Traceback" not in log


def test_killed_tests_leave_no_daemon_and_no_job(cluster: Cluster, tmp_path: Path) -> None:
    """Start a second cluster, and kill its owner while a job runs."""
    program = """
import sys
from tests.jobs.slurm.chains import RANK_ON_EACH_NODE, SMOKE, records
from tests.jobs.slurm.cluster import Cluster
with Cluster() as second:
    second.wait(second.sbatch("--output=/dev/null", "--wrap=sleep 600"), ["RUNNING"])
    print(second.folder, flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        folder = owner.stdout.readline().strip()
        assert folder, "the second cluster did not start"
        os.kill(owner.pid, signal.SIGKILL)
    variable = f"SLURM_CONF={folder}/slurm.conf".encode()
    wait_until(lambda: not Path(folder).exists(), 30, lambda: str(processes_with(variable)))
    assert not processes_with(variable)
    assert len(cluster.run(["sinfo", "--noheader", "--Node", "--partition=tests"]).stdout.splitlines()) == 2


def processes_with(variable: bytes) -> list[str]:
    """Return the command lines of the processes with a variable in their environment."""
    commands = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if variable in (folder / "environ").read_bytes().split(b"\0"):
                commands.append((folder / "cmdline").read_text())
        except OSError:
            continue
    return commands
