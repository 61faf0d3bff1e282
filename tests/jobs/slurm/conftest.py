"""One cluster for all tests of this folder, which run on one worker (see `tests/conftest.py`)."""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.slurm import cluster as cluster_module
from tests.jobs.slurm.chains import RANK_ON_EACH_NODE, SLOW_GENERATION, SLOW_SAMPLES, SMOKE
from tests.jobs.slurm.cluster import Cluster
from tests.support.launching import require_success, run_stage


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Yield a running Slurm of two nodes."""
    reason = cluster_module.unmet_requirement()
    if reason and os.environ.get("SIMSURROGATE_REQUIRE_SLURM") == "1":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    with Cluster() as running_cluster:
        yield running_cluster


@pytest.fixture
def ada_folder(cluster: Cluster) -> Iterator[Path]:
    """Return an empty folder of the user ada, which all users may read."""
    with cluster.folder_of("ada") as folder:
        yield folder


@pytest.fixture(scope="session")
def validated_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run folder with validated data of the smoke experiment, without Slurm."""
    run = tmp_path_factory.mktemp("prepared")
    for name in ("generate", "validate"):
        require_success(run_stage(name, SMOKE, f"run={run}"))
    return run


@pytest.fixture(scope="session")
def trained_model(validated_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run folder with a model of the smoke experiment, trained on two ranks without Slurm."""
    run = tmp_path_factory.mktemp("trained")
    require_success(run_stage("train", SMOKE, f"run={run}", f"dataset={validated_data}/dataset", ranks=2))
    return run


@pytest.fixture(scope="session")
def slow_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run folder with slowly generated data, without a stop and without Slurm."""
    run = tmp_path_factory.mktemp("slow")
    require_success(run_stage("generate", *SLOW_GENERATION, *SLOW_SAMPLES, f"run={run}", ranks=2))
    return run


@pytest.fixture(scope="session", autouse=True)
def lonely_rank(cluster: Cluster, validated_data: Path, tmp_path_factory: pytest.TempPathFactory) -> int:
    """Return the job of a training without its rank 0.

    Rank 1 ends with an error after two minutes. The job starts first and waits while the other tests run.
    """
    folder = tmp_path_factory.mktemp("lonely")
    train_command = [
        "python",
        "-m",
        "pipeline.train",
        SMOKE,
        f"run={folder}",
        f"dataset={validated_data}/dataset",
    ]
    step_command = [
        "srun",
        "--mpi=none",
        "sh",
        "-c",
        f'[ "$SLURM_PROCID" = 0 ] || exec {shlex.join(train_command)}',
    ]
    return cluster.sbatch(
        *RANK_ON_EACH_NODE, f"--output={folder}/log.txt", f"--wrap={shlex.join(step_command)}"
    )
