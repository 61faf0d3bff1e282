"""Process groups: the ranks of every launcher form a group, and gradients do not depend on the ranks."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from pathlib import Path

import pytest
import safetensors.torch
import torch

from pipeline.parallel import launch
from pipeline.parallel.devices import can_use_cuda, use_deterministic_algorithms
from pipeline.parallel.launch import Launch
from pipeline.training.batches.order import BatchOrder
from surrogates.contract import surrogate_names
from tests.faults.train_gradients import CONSTRAINED_SURROGATES
from tests.support.launching import environment, mpi_command, require_success, run

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python"]
CORES = len(os.sched_getaffinity(0))
PROGRAM = ("-m", "tests.faults.train_ranks")


@pytest.fixture(scope="module")
def output_of_two_ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Return the file with the gradients of two ranks, and the lines that the ranks print."""
    file = tmp_path_factory.mktemp("gradients") / "two"
    result = require_success(run(mpi_command(2, "-m", "tests.faults.train_gradients", str(file))))
    return file, [line for line in result.stdout.splitlines() if line.startswith("threads")]


@pytest.fixture(scope="module")
def gradients(output_of_two_ranks: tuple[Path, list[str]]) -> list[dict[str, torch.Tensor]]:
    """Return the gradients of all surrogates on the same full batch, on one rank and on two ranks."""
    file, _ = output_of_two_ranks
    require_success(run([sys.executable, "-m", "tests.faults.train_gradients", str(file.with_name("one"))]))
    return [safetensors.torch.load_file(file.with_name(name)) for name in ("one", "two")]


def relative_difference(gradients: list[dict[str, torch.Tensor]], prefix: str) -> float:
    """Return the difference of the gradients on one and on two ranks, in the norm over all weights."""
    gradients_of_one_rank, gradients_of_two_ranks = (
        torch.cat([gradient.flatten() for key, gradient in by_name.items() if key.startswith(prefix)])
        for by_name in gradients
    )
    assert len(gradients_of_one_rank) > 100
    return float((gradients_of_two_ranks - gradients_of_one_rank).norm() / gradients_of_one_rank.norm())


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-6), ("float64", 1e-12)])
@pytest.mark.parametrize("name", surrogate_names())
def test_one_and_two_ranks_have_the_same_gradients(
    gradients: list[dict[str, torch.Tensor]], name: str, precision: str, tolerance: float
) -> None:
    assert relative_difference(gradients, f"{name}/{precision}/") <= tolerance


@pytest.mark.parametrize(("name", "constraints"), CONSTRAINED_SURROGATES)
def test_one_and_two_ranks_have_the_same_gradients_with_constraints(
    gradients: list[dict[str, torch.Tensor]], name: str, constraints: tuple[str, ...]
) -> None:
    """Compare norms over all weights: the gradient of a bias that a constraint removes is round-off."""
    prefix = "-".join([name, *constraints])
    assert relative_difference(gradients, f"{prefix}/") <= 1e-12


def test_one_and_two_ranks_have_the_same_gradient_of_each_weight(
    gradients: list[dict[str, torch.Tensor]],
) -> None:
    """Compare each weight, because the norm over all weights hides small gradients."""
    gradients_of_one_rank, gradients_of_two_ranks = gradients
    assert gradients_of_one_rank.keys() == gradients_of_two_ranks.keys()
    for key in (
        key
        for key in gradients_of_one_rank
        if key.partition("/")[0] in surrogate_names() and "/float64/" in key
    ):
        assert (gradients_of_two_ranks[key] - gradients_of_one_rank[key]).norm() / gradients_of_one_rank[
            key
        ].norm() <= 1e-12, key


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_communication_thread_outlives_the_process_group(
    output_of_two_ranks: tuple[Path, list[str]],
) -> None:
    # A remaining thread may abort the process when the interpreter ends.
    _, lines = output_of_two_ranks
    assert len(lines) == 2
    for _, num_threads, num_threads_after in (line.split() for line in lines):
        assert int(num_threads) > 0
        assert int(num_threads_after) == 0


@pytest.mark.fault(
    "a rank hangs in training",
    cause="rank 1 of 2 never sends its gradients",
    result="all ranks end after the time limit, with a message",
    lost="the steps since the last checkpoint",
)
def test_a_rank_that_hangs_ends_all_ranks() -> None:
    # Without a timeout, the other rank would wait forever for the gradients.
    result = run(mpi_command(2, "-m", "tests.faults.train_hangs"), timeout=60)
    assert result.returncode != 0
    assert "[rank 0 of 2] error: the gradients of other ranks did not come within 0:00:02" in result.stderr


@pytest.mark.parametrize(
    ("command", "size", "num_threads"),
    [
        ([sys.executable, *PROGRAM], 1, CORES),
        (mpi_command(1, *PROGRAM), 1, CORES),
        (mpi_command(3, *PROGRAM), 3, max(1, CORES // 3)),
        ([*TORCHRUN, "--nproc-per-node=2", sys.executable, *PROGRAM], 2, 1),
    ],
    ids=["no launcher", "mpirun 1", "mpirun 3", "torchrun 2"],
)
def test_the_ranks_of_every_launcher_form_a_group_and_share_the_cores(
    command: list[str], size: int, num_threads: int
) -> None:
    # The test unsets OMP_NUM_THREADS, which torchrun sets to 1.
    result = require_success(run(["env", "-u", "OMP_NUM_THREADS", *command]))
    lines = sorted(line.split() for line in result.stdout.splitlines() if "from_0" in line)
    total = size * (size + 1) // 2
    assert lines == [[str(rank), str(size), str(total), "from_0", str(num_threads)] for rank in range(size)]


@pytest.mark.fault(
    "the port is in use",
    cause="an open socket on MASTER_PORT",
    result="another port under mpirun; an error under torchrun",
    lost="nothing",
)
def test_ranks_take_another_port_than_an_occupied_port_and_torchrun_reports_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        port = str(occupied.getsockname()[1])
        result = require_success(run(mpi_command(2, *PROGRAM), timeout=60, MASTER_PORT=port))
        assert result.stdout.count("from_0") == 2
        fixed_port = ["--nproc-per-node=2", "--master-addr=127.0.0.1", f"--master-port={port}"]
        torchrun = [argument for argument in TORCHRUN if argument != "--standalone"]
        refused = run([*torchrun, *fixed_port, sys.executable, *PROGRAM], timeout=60)
        assert refused.returncode != 0
        assert "EADDRINUSE" in refused.stderr


def test_the_ranks_of_srun_connect_through_a_file() -> None:
    """Start two processes with the variables that srun sets."""
    rank = (
        f"SLURM_PROCID=$RANK_OF_STEP SLURM_LOCALID=$RANK_OF_STEP {sys.executable} -m tests.faults.train_ranks"
    )
    script = f"(RANK_OF_STEP=1; {rank}) & RANK_OF_STEP=0; {rank}; wait"
    result = require_success(run(["sh", "-c", script], timeout=120, **srun_variables()))
    assert sorted(result.stdout.splitlines()) == ["0 2 3 from_0 1", "1 2 3 from_0 1"]
    assert not list(Path(tempfile.gettempdir()).glob(f".rendezvous-{os.getpid()}-*"))


@pytest.mark.parametrize(
    ("rank", "message"),
    [("0", "1 of 2 ranks came to 127.0.0.1"), ("1", "rank 0 did not write /tmp/.rendezvous-")],
)
def test_a_rank_without_the_other_ranks_ends_with_an_error(rank: str, message: str) -> None:
    program = (
        "from datetime import timedelta; from pathlib import Path;"
        "from pipeline.parallel import ranks, rendezvous;"
        "rendezvous._RENDEZVOUS_TIMEOUT = timedelta(seconds=1);"
        "ranks.init_ranks('cpu', Path('/tmp')).__enter__()"
    )
    result = run([sys.executable, "-c", program], timeout=60, SLURM_PROCID=rank, **srun_variables())
    assert f"UserError: rank {rank} of 2, started by srun, does not reach the others" in result.stderr
    assert message in result.stderr


def srun_variables() -> dict[str, str]:
    """Return the variables that srun sets for the two ranks of a step on one node."""
    return {
        "SLURM_NTASKS": "2",
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_LOCALID": "0",
    }


@pytest.mark.parametrize(
    ("step", "launcher"),
    [
        ("0", "srun"),
        ("4294967289", "srun"),
        ("4294967290", "none"),
        ("4294967291", "none"),
        ("4294967292", "none"),
        ("4294967293", "none"),
        ("", "none"),
    ],
)
def test_only_steps_started_by_srun_have_ranks(
    step: str, launcher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"SLURM_NTASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_STEP_ID": step}
    # `srun --mpi=pmi2` also sets variables that MPICH's mpirun sets.
    variables |= {"PMI_RANK": "3", "PMI_SIZE": "4"}
    monkeypatch.setattr(os, "environ", environment(**variables))
    expected = Launch("srun", 3, 4, 1) if launcher == "srun" else Launch("none", 0, 1, 0)
    assert launch.detect() == expected
    # A step of one task is a shell, whose variables remain in a job of four tasks that the shell submits.
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    assert launch.detect() == Launch("none", 0, 1, 0)


def test_the_ranks_of_an_unknown_launcher_are_detected_through_mpi() -> None:
    env_options = [
        option for name in ("RANK", "SIZE", "LOCAL_RANK") for option in ("-u", f"OMPI_COMM_WORLD_{name}")
    ]
    program = (
        "from pipeline.parallel import launch; before = launch.detect().size; world = launch.world();"
        "print(before, world.rank, world.size, *launch.rank_and_size())"
    )
    command = mpi_command(2, "-c", program)
    index = command.index(sys.executable)
    lines = require_success(
        run([*command[:index], "env", *env_options, *command[index:]])
    ).stdout.splitlines()
    assert sorted(lines) == ["1 0 2 0 2", "1 1 2 1 2"]


@pytest.mark.parametrize(
    ("devices", "is_enough", "counts"),
    [
        ([("a", "0"), ("a", "1"), ("b", "0"), ("b", "1")], True, ""),
        ([("a", "0"), ("a", "0")], False, "a has 2 ranks and 1 CUDA devices"),
        ([("a", "0"), ("a", "1"), ("b", "0"), ("b", "0")], False, "b has 2 ranks and 1 CUDA devices"),
        ([("a", "0"), ("b", None)], False, "b has 1 ranks and 0 CUDA devices"),
        ([("a", None), ("a", None)], False, "a has 2 ranks and 0 CUDA devices"),
    ],
)
def test_ranks_compute_on_gpus_if_each_rank_has_a_gpu(
    devices: list[tuple[str, str | None]], is_enough: bool, counts: str
) -> None:
    assert can_use_cuda("auto", devices) is is_enough
    assert not can_use_cuda("cpu", devices)
    if is_enough:
        assert can_use_cuda("cuda", devices)
        return
    with pytest.raises(ValueError, match=counts):
        can_use_cuda("cuda", devices)


def test_deterministic_algorithms_are_selected_on_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    try:
        use_deterministic_algorithms(torch.device("cpu"))
        assert not torch.are_deterministic_algorithms_enabled()
        use_deterministic_algorithms(torch.device("cuda"))
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_batches_do_not_depend_on_the_ranks(size: int) -> None:
    single_rank_order = BatchOrder(25, 12, seed=3, rank=0, size=1)
    orders = [BatchOrder(25, 12, seed=3, rank=rank, size=size) for rank in range(size)]
    for step in (0, 1, 2, 17):
        shares = [order.rank_windows(step).tolist() for order in orders]
        assert {len(share) for share in shares} == {12 // size}
        assert [window for share in shares for window in share] == single_rank_order.rank_windows(
            step
        ).tolist()


def test_every_epoch_has_every_window_once_in_another_order() -> None:
    order = BatchOrder(10, 4, seed=0, rank=0, size=1)
    windows = [int(window) for step in range(5) for window in order.rank_windows(step)]
    first_epoch, second_epoch = windows[:10], windows[10:]
    assert sorted(first_epoch) == sorted(second_epoch) == list(range(10))
    assert first_epoch != second_epoch
    assert BatchOrder(10, 4, seed=1, rank=0, size=1).rank_windows(0).tolist() != first_epoch[:4]


def test_a_batch_may_be_larger_than_the_data() -> None:
    batch = BatchOrder(3, 8, seed=0, rank=0, size=1).rank_windows(0).tolist()
    assert sorted(batch[:3]) == sorted(batch[3:6]) == [0, 1, 2]


def test_a_batch_that_does_not_fit_the_ranks_is_refused_with_the_legal_counts() -> None:
    with pytest.raises(
        ValueError, match=r"batch_size=12 cannot be shared by 5 ranks.*one of 1, 2, 3, 4, 6, 12 ranks"
    ):
        BatchOrder(25, 12, seed=0, rank=0, size=5)
    with pytest.raises(ValueError, match="no window"):
        BatchOrder(0, 12, seed=0, rank=0, size=1)
