"""One cluster for all tests of this folder; they run on the same worker, see `tests/conftest.py`."""

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
    """Yield a running Slurm of two nodes."""
    reason = cluster_module.unmet_requirement()
    if reason and os.environ.get("SIMSURROGATE_REQUIRE_SLURM") == "1":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    with Cluster() as running:
        yield running


@pytest.fixture(scope="session")
def validated_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run folder with validated data of the smoke experiment, without Slurm."""
    run = tmp_path_factory.mktemp("prepared")
    for name in ("generate", "validate"):
        succeeded(stage(name, SMOKE, f"run={run}"))
    return run


@pytest.fixture(scope="session")
def slow_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run folder with data generated in some seconds, without a stop and without Slurm."""
    run = tmp_path_factory.mktemp("slow")
    succeeded(stage("generate", *SLOW, *SLOW_SAMPLES, f"run={run}", ranks=2))
    return run


@pytest.fixture(scope="session", autouse=True)
def lonely_rank(cluster: Cluster, validated_data: Path, tmp_path_factory: pytest.TempPathFactory) -> int:
    """Return the job of a training without its rank 0.

    Rank 1 gives up after two minutes. The job starts first, so that the other tests run meanwhile.
    """
    folder = tmp_path_factory.mktemp("lonely")
    train = ["python", "-m", "pipeline.train", SMOKE, f"run={folder}", f"dataset={validated_data}/dataset"]
    step = ["srun", "--mpi=none", "sh", "-c", f'[ "$SLURM_PROCID" = 0 ] || exec {shlex.join(train)}']
    return cluster.sbatch(*RANK_ON_EACH_NODE, f"--output={folder}/log.txt", f"--wrap={shlex.join(step)}")
