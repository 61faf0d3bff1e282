"""Ranks find each other under every launcher, and two have the gradients of one."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest
import safetensors.torch
import torch

from pipeline.parallel.devices import compute_repeatably, each_has_a_device
from pipeline.parallel.launch import Launch
from pipeline.training.batches.order import BatchOrder
from surrogates.contract import surrogate_names
from tests.faults.train_gradients import CONSTRAINED
from tests.support.launching import mpi, run, succeeded

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python"]
PROGRAM = ("-m", "tests.faults.train_ranks")


@pytest.fixture(scope="module")
def gradients(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, torch.Tensor]]:
    """Every surrogate's gradients of the same full batch, on one rank and on two."""
    folder = tmp_path_factory.mktemp("gradients")
    for ranks in (1, 2):
        succeeded(run(mpi(ranks, "-m", "tests.faults.train_gradients", str(folder / str(ranks)))))
    return [safetensors.torch.load_file(folder / str(ranks)) for ranks in (1, 2)]


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-6), ("float64", 1e-12)])
@pytest.mark.parametrize("name", surrogate_names())
def test_two_ranks_have_the_gradients_of_one(
    gradients: list[dict[str, torch.Tensor]], name: str, precision: str, tolerance: float
) -> None:
    one, two = (
        torch.cat([part.flatten() for key, part in found.items() if key.startswith(f"{name}/{precision}/")])
        for found in gradients
    )
    assert len(one) > 200
    assert (two - one).norm() / one.norm() <= tolerance


@pytest.mark.parametrize(("name", "constraints"), CONSTRAINED)
def test_two_ranks_have_the_gradients_of_one_with_constraints(
    gradients: list[dict[str, torch.Tensor]], name: str, constraints: tuple[str, ...]
) -> None:
    """In the norm over all weights: to a bias that shifts a mean which is kept, rounding alone is left."""
    which = "-".join([name, *constraints])
    one, two = (
        torch.cat([part.flatten() for key, part in found.items() if key.startswith(f"{which}/")])
        for found in gradients
    )
    assert len(one) > 200
    assert (two - one).norm() / one.norm() <= 1e-12


def test_each_weight_has_its_gradient(gradients: list[dict[str, torch.Tensor]]) -> None:
    """Also the small ones, which would not be missed in the norm over all weights."""
    one, two = gradients
    assert one.keys() == two.keys()
    for key in (key for key in one if key.partition("/")[0] in surrogate_names() and "/float64/" in key):
        assert (two[key] - one[key]).norm() / one[key].norm() <= 1e-12, key


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_communication_thread_outlives_the_ranks() -> None:
    """One that does may need the interpreter while that one ends, and aborts the process."""
    lines = succeeded(run(mpi(2, "-m", "tests.faults.train_threads"))).stdout.splitlines()
    assert len(lines) == 2
    for joined, after in (line.split() for line in lines):
        assert int(joined) > 0
        assert int(after) == 0


def test_a_rank_that_hangs_ends_all_ranks() -> None:
    """MPI would wait for its gradients for ever."""
    result = run(mpi(2, "-m", "tests.faults.train_hangs"), timeout=60)
    assert result.returncode != 0
    assert "[rank 0 of 2] error: the gradients of other ranks did not come within 0:00:02" in result.stderr


@pytest.mark.parametrize(
    ("command", "size"),
    [
        ([sys.executable, *PROGRAM], 1),
        (mpi(1, *PROGRAM), 1),
        (mpi(3, *PROGRAM), 3),
        ([*TORCHRUN, "--nproc-per-node=2", sys.executable, *PROGRAM], 2),
    ],
    ids=["no launcher", "mpirun 1", "mpirun 3", "torchrun 2"],
)
def test_every_launcher_joins_its_ranks(command: list[str], size: int) -> None:
    result = succeeded(run(command))
    lines = sorted(line.split() for line in result.stdout.splitlines() if line.endswith(("0 1", "1")))
    total = size * (size + 1) // 2
    assert lines == [[str(rank), str(size), str(total), "said_by_0", "1"] for rank in range(size)]


def test_srun_joins_its_ranks_by_a_file() -> None:
    """Two processes with the variables that srun sets."""
    rank = (
        f"SLURM_PROCID=$RANK_OF_STEP SLURM_LOCALID=$RANK_OF_STEP {sys.executable} -m tests.faults.train_ranks"
    )
    script = f"(RANK_OF_STEP=1; {rank}) & RANK_OF_STEP=0; {rank}; wait"
    result = succeeded(run(["sh", "-c", script], timeout=120, **of_two_ranks()))
    assert sorted(result.stdout.splitlines()) == ["0 2 3 said_by_0 1", "1 2 3 said_by_0 1"]
    assert not list(Path(tempfile.gettempdir()).glob(f".rendezvous-{os.getpid()}-*"))


@pytest.mark.parametrize(
    ("rank", "told"),
    [("0", "1 of 2 ranks came to 127.0.0.1"), ("1", "rank 0 did not write /tmp/.rendezvous-")],
)
def test_a_rank_that_nobody_meets_gives_up(rank: str, told: str) -> None:
    program = (
        "from datetime import timedelta; from pathlib import Path;"
        "from pipeline.parallel import ranks, rendezvous;"
        "rendezvous._RENDEZVOUS_TIMEOUT = timedelta(seconds=1);"
        "ranks.init_ranks('cpu', Path('/tmp')).__enter__()"
    )
    result = run([sys.executable, "-c", program], timeout=60, SLURM_PROCID=rank, **of_two_ranks())
    assert f"ValueError: rank {rank} of 2, started by srun, does not reach the others" in result.stderr
    assert told in result.stderr


def of_two_ranks() -> dict[str, str]:
    return {
        "SLURM_NTASKS": "2",
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_NODES": "1",
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
def test_only_a_step_that_srun_started_has_ranks(step: str, launcher: str) -> None:
    program = "from pipeline.parallel import launch; print(launch.detect())"
    slurm = {"SLURM_NTASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_STEP_ID": step}
    said = succeeded(run([sys.executable, "-c", program], **slurm)).stdout
    assert said.strip() == str(Launch("srun", 3, 4, 1) if launcher == "srun" else Launch("none", 0, 1, 0))


def test_ranks_of_an_unknown_launcher_are_those_of_mpi() -> None:
    unknown = [word for name in ("RANK", "SIZE", "LOCAL_RANK") for word in ("-u", f"OMPI_COMM_WORLD_{name}")]
    program = (
        "from pipeline.parallel import launch; before = launch.detect().size; world = launch.world();"
        "print(before, world.rank, world.size, *launch.rank_and_size())"
    )
    command = mpi(2, "-c", program)
    place = command.index(sys.executable)
    lines = succeeded(run([*command[:place], "env", *unknown, *command[place:]])).stdout.splitlines()
    assert sorted(lines) == ["1 0 2 0 2", "1 1 2 1 2"]


@pytest.mark.parametrize(
    ("found", "enough", "counts"),
    [
        ([("a", "0"), ("a", "1"), ("b", "0"), ("b", "1")], True, ""),
        ([("a", "0"), ("a", "0")], False, "a has 2 ranks and 1 CUDA devices"),
        ([("a", "0"), ("a", "1"), ("b", "0"), ("b", "0")], False, "b has 2 ranks and 1 CUDA devices"),
        ([("a", "0"), ("b", None)], False, "b has 1 ranks and 0 CUDA devices"),
        ([("a", None), ("a", None)], False, "a has 2 ranks and 0 CUDA devices"),
    ],
)
def test_ranks_compute_on_gpus_where_each_has_one(
    found: list[tuple[str, str | None]], enough: bool, counts: str
) -> None:
    assert each_has_a_device("auto", found) is enough
    assert not each_has_a_device("cpu", found)
    if enough:
        assert each_has_a_device("cuda", found)
        return
    with pytest.raises(ValueError, match=counts):
        each_has_a_device("cuda", found)


def test_deterministic_algorithms_are_asked_for_on_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    try:
        compute_repeatably(torch.device("cpu"))
        assert not torch.are_deterministic_algorithms_enabled()
        compute_repeatably(torch.device("cuda"))
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)


def test_cores_are_shared_by_the_ranks_of_a_machine() -> None:
    cores = len(os.sched_getaffinity(0))
    without = ["env", "-u", "OMP_NUM_THREADS"]
    alone = succeeded(run([*without, sys.executable, *PROGRAM])).stdout.split()
    both = succeeded(run([*without, *mpi(2, *PROGRAM)])).stdout.splitlines()
    assert int(alone[-1]) == cores
    assert {int(line.split()[-1]) for line in both} == {max(1, cores // 2)}


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_batches_do_not_depend_on_the_ranks(size: int) -> None:
    alone = BatchOrder(25, 12, seed=3, rank=0, size=1)
    shared = [BatchOrder(25, 12, seed=3, rank=rank, size=size) for rank in range(size)]
    for step in (0, 1, 2, 17):
        parts = [batches.at(step).tolist() for batches in shared]
        assert {len(part) for part in parts} == {12 // size}
        assert [window for part in parts for window in part] == alone.at(step).tolist()


def test_every_window_is_seen_once_an_epoch_in_an_order_of_its_own() -> None:
    batches = BatchOrder(10, 4, seed=0, rank=0, size=1)
    seen = [int(window) for step in range(5) for window in batches.at(step)]
    first, second = seen[:10], seen[10:]
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert BatchOrder(10, 4, seed=1, rank=0, size=1).at(0).tolist() != first[:4]


def test_a_batch_may_be_larger_than_the_data() -> None:
    batch = BatchOrder(3, 8, seed=0, rank=0, size=1).at(0).tolist()
    assert sorted(batch[:3]) == sorted(batch[3:6]) == [0, 1, 2]


def test_a_batch_that_does_not_fit_the_ranks_is_refused_with_the_legal_counts() -> None:
    with pytest.raises(
        ValueError, match=r"batch_size=12 cannot be shared by 5 ranks.*1, 2, 3, 4, 6, 12 ranks"
    ):
        BatchOrder(25, 12, seed=0, rank=0, size=5)
    with pytest.raises(ValueError, match="no window"):
        BatchOrder(0, 12, seed=0, rank=0, size=1)
