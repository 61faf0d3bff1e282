"""One cluster for all tests of this folder, which run on one worker (see `tests/conftest.py`)."""

import os
import shlex
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.jobs.slurm import daemons, users
from tests.jobs.slurm.chains import (
    AWKWARD_NAME,
    MPICH_SITE,
    RANK_ON_EACH_NODE,
    SLOW_GENERATION,
    SLOW_SAMPLES,
    SMOKE,
    batch_script,
    final_states,
    run_chain,
    start_ending_chain,
)
from tests.jobs.slurm.cluster import Cluster
from tests.support.forked import start_server
from tests.support.launching import require_success, run_stage

#: Test modules that wait for long jobs, which start with the first test.
LAST_MODULES = ("test_one_command.py", "test_launching.py", "test_time_limits.py", "test_lost_nodes.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that wait for long jobs after the other tests of Slurm."""
    positions = [index for index, item in enumerate(items) if item.path.parent == Path(__file__).parent]
    in_order = sorted(
        (items[index] for index in positions),
        key=lambda item: LAST_MODULES.index(item.path.name) if item.path.name in LAST_MODULES else -1,
    )
    for index, item in zip(positions, in_order, strict=True):
        items[index] = item


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Yield a running Slurm of two nodes."""
    reason = daemons.unmet_requirement()
    if reason and os.environ.get("SIMSURROGATE_REQUIRE_SLURM") == "1":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    users.enter_view()
    start_server()
    with Cluster() as running_cluster:
        yield running_cluster


@pytest.fixture
def forked_stages(cluster: Cluster) -> Iterator[None]:
    """Fork the stages of all jobs of a test, because the start of a stage takes longer than the stage."""
    with cluster.forked_stages():
        yield


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


def is_selected(request: pytest.FixtureRequest, test_name: str) -> bool:
    """Return whether a test, or a test of a module, is in this session."""
    return any(test_name in (item.name, item.path.name) for item in request.session.items)


@pytest.fixture(scope="session")
def mpich_site(cluster: Cluster) -> tuple[str, ...]:
    """Return the smoke experiment on the site with MPICH, whose YAML root keeps for all users."""
    folder = cluster.folder / "mysite" / "launcher"
    folder.mkdir(parents=True)
    (folder / "site.yaml").write_text(MPICH_SITE.format(folder=cluster.folder))
    return ("--config-dir", str(folder.parent), "launcher=site", SMOKE)


@pytest.fixture(scope="session", autouse=True)
def mpich_run(
    request: pytest.FixtureRequest, cluster: Cluster, mpich_site: tuple[str, ...]
) -> Iterator[Path | None]:
    """Return a run of the user ada on the site with MPICH, or None if no test needs the run.

    The name of its folder has shell characters. Its jobs start first and run while other tests run.
    """
    if not is_selected(request, "test_one_command.py"):
        yield None
        return
    with cluster.folder_of("ada") as folder:
        run = folder / AWKWARD_NAME
        require_success(run_chain(cluster, run, *mpich_site, cwd=folder, user="ada"))
        yield run


@pytest.fixture(scope="session", autouse=True)
def lonely_rank(
    request: pytest.FixtureRequest,
    cluster: Cluster,
    validated_data: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[int, Path] | None:
    """Return the job of a training without its rank 0, and its folder; None if no test needs the job.

    Rank 1 ends with an error after two minutes. The job starts first and waits while the other tests run.
    """
    if not is_selected(request, "test_a_rank_without_its_peers_ends_with_an_error"):
        return None
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
    options = (*RANK_ON_EACH_NODE, f"--output={folder}/log.txt")
    return cluster.sbatch(*options, f"--wrap={shlex.join(step_command)}"), folder


@pytest.fixture(scope="session", autouse=True)
def ending_chain(
    request: pytest.FixtureRequest, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Future[subprocess.CompletedProcess[str]]] | None]:
    """Yield a chain whose tasks end in different ways, and the output of `status --watch` until its end.

    Yield None if no test needs the chain. Slurm ends a job up to half a minute after its time limit. The
    chain starts first and ends while other tests run.
    """
    if not is_selected(request, "test_status.py"):
        yield None
        return
    run = tmp_path_factory.mktemp("ending") / "run"
    start_ending_chain(cluster, run)
    with ThreadPoolExecutor() as executor:
        yield run, executor.submit(run_chain, cluster, run, "status", "--watch")


@pytest.fixture
def mails(cluster: Cluster, tmp_path: Path) -> Iterator[Path]:
    """Return the file with the subjects of all mails, on a site that forbids requeueing by default."""
    mails, program = tmp_path / "mails", tmp_path / "mailer"
    program.write_text(f'#!/bin/sh\ncat > /dev/null\necho "$2 to $3" >> {mails}\n')
    program.chmod(0o755)
    mails.touch()
    with cluster.options(MailProg=str(program), JobRequeue="0"):
        yield mails


@pytest.fixture(scope="session", autouse=True)
def endless_shard(
    request: pytest.FixtureRequest, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, Path] | None:
    """Return a job whose shard takes longer than the time limit, and its folder; None if no test needs it.

    Slurm sends its signal in two minutes. The job starts first and waits while the other tests run.
    """
    if not is_selected(request, "test_a_job_without_progress_is_not_requeued"):
        return None
    # Slurm sends the signal up to a minute earlier than asked. The stage takes up to half a minute to start
    # on a busy machine.
    folder = tmp_path_factory.mktemp("endless")
    options = ("--time=00:03:00", "--signal=B:USR1@90", f"--output={folder}/log.txt")
    overrides = (*SLOW_GENERATION, "samples.train=1000", "samples.per_shard=1000", f"run={folder}/run")
    return cluster.sbatch(*options, str(batch_script("generate")), *overrides), folder


@pytest.fixture
def free_nodes(
    cluster: Cluster,
    mpich_run: Path | None,
    ending_chain: tuple[Path, Future[subprocess.CompletedProcess[str]]] | None,
    lonely_rank: tuple[int, Path] | None,
    endless_shard: tuple[int, Path] | None,
) -> None:
    """Wait for the end of the long jobs, so that a test may kill all processes of a node."""
    for run in (mpich_run, ending_chain and ending_chain[0]):
        if run:
            final_states(cluster, run)
    for job in (lonely_rank, endless_shard):
        if job is not None:
            cluster.wait_for_end(job[0], seconds=240)
