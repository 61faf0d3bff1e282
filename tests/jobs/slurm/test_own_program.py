"""A job whose stage starts external programs as steps of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.generation.test_own_solvers import line_arguments
from tests.jobs.slurm.chains import batch_script
from tests.jobs.slurm.cluster import Cluster


@pytest.mark.usefixtures("forked_stages")
@pytest.mark.parametrize("launcher", ["mpirun", "srun"])
def test_the_programs_of_a_job_run_as_steps_of_srun(launcher: str, cluster: Cluster, tmp_path: Path) -> None:
    launch = ("srun", "--overlap", "--mpi=none", "--ntasks=1", "--nodes=1", "--quiet")
    launch_line = ("launcher.mpirun=[srun,'--mpi=pmi2']",) if launcher == "srun" else ()
    job_number = cluster.sbatch(
        "--ntasks=1",
        f"--output={tmp_path}/%j.txt",
        str(batch_script("generate")),
        *line_arguments(tmp_path, launch=launch),
        *launch_line,
        cwd=tmp_path,
    )
    job = cluster.wait(job_number)
    assert job["JobState"] == "COMPLETED", cluster.log(job_number)
    manifest = json.loads((tmp_path / "run" / "dataset" / "manifest.json").read_text())
    assert not manifest["failed"]
