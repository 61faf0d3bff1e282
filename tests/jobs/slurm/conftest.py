"""One cluster for all tests of this folder, which one worker of a parallel run gets (tests/conftest.py)."""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.slurm import cluster as cluster_module
from tests.jobs.slurm.chains import RANK_ON_EACH_NODE, SLOW, SLOW_SAMPLES, SMOKE
from tests.jobs.slurm.cluster import Cluster
from tests.support.launching import stage, succeeded


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running Slurm of two nodes."""
    reason = cluster_module.why_not()
    if reason and os.environ.get("SIMSURROGATE_REQUIRE_SLURM") == "1":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    with Cluster() as running:
        yield running


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with the validated data of the smoke experiment, made on one rank without Slurm."""
    run = tmp_path_factory.mktemp("prepared")
    for name in ("generate", "validate"):
        succeeded(stage(name, SMOKE, f"run={run}"))
    return run


@pytest.fixture(scope="session")
def slow_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with data that take seconds to make, made undisturbed and without Slurm."""
    run = tmp_path_factory.mktemp("slow")
    succeeded(stage("generate", *SLOW, *SLOW_SAMPLES, f"run={run}", ranks=2))
    return run


@pytest.fixture(scope="session", autouse=True)
def lonely_rank(cluster: Cluster, prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> int:
    """The job of a training whose rank 0 never comes. The other one gives up after two minutes, in which
    the other tests run.
    """
    folder = tmp_path_factory.mktemp("lonely")
    train = ["python", "-m", "pipeline.train", SMOKE, f"run={folder}", f"dataset={prepared}/dataset"]
    step = ["srun", "--mpi=none", "sh", "-c", f'[ "$SLURM_PROCID" = 0 ] || exec {shlex.join(train)}']
    return cluster.sbatch(*RANK_ON_EACH_NODE, f"--output={folder}/log.txt", f"--wrap={shlex.join(step)}")
