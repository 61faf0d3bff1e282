"""The end of all ranks after an error of one rank."""

import time

from tests.support.launching import mpi_command, run

PROGRAM = """
import sys, time
from pipeline import cli
from pipeline.parallel import groups, launch
from simsurrogate.errors import UserError

failing_rank, work = int(sys.argv[1]), sys.argv[2]

def fail():
    if work == "waits for all ranks":
        launch.world()
        raise UserError("a mistake")
    raise RuntimeError("a bug")

if launch.rank_and_size()[0] == failing_rank:
    cli.exit_on_error(fail)
elif work == "starts MPI":
    launch.world()
elif work == "waits for all ranks":
    groups.wait_for_ranks(launch.world())
time.sleep(60)
"""


def test_a_rank_that_fails_starts_mpi_before_it_ends_all_ranks() -> None:
    # mpirun can hang if a rank ends while another rank connects to it.
    result = run(mpi_command(2, "-c", PROGRAM, "0", "starts MPI"), timeout=50)
    assert result.returncode == 1
    assert "RuntimeError: a bug" in result.stderr
    assert "MPI_ABORT was invoked on rank 0" in result.stdout + result.stderr


def test_a_rank_that_fails_ends_ranks_that_do_not_start_mpi() -> None:
    start = time.monotonic()
    result = run(mpi_command(2, "-c", PROGRAM, "0", "works on"), timeout=50)
    assert result.returncode != 0
    assert "RuntimeError: a bug" in result.stderr
    assert time.monotonic() - start < 30


def test_the_mistake_of_one_rank_is_printed_while_another_rank_waits_for_all_ranks() -> None:
    result = run(mpi_command(2, "-c", PROGRAM, "1", "waits for all ranks"), timeout=50)
    assert result.returncode == 2
    assert "[rank 1 of 2] error: a mistake" in result.stderr


INTERRUPTED = """
import os, signal
from pipeline import cli
from pipeline.parallel import launch

def stage(settings):
    world = launch.world()
    if world.rank == 1:
        os.kill(os.getpid(), signal.SIGINT)
    world.barrier()

cli.main(stage)
"""


def test_an_interrupted_rank_ends_all_ranks() -> None:
    # The rank would wait for the other ranks at the end of MPI, and the other ranks for this rank.
    result = run(mpi_command(2, "-c", INTERRUPTED), timeout=50)
    assert result.returncode == 130
    assert "[rank 1 of 2] interrupted" in result.stderr
