"""The end of all ranks after an error of one rank."""

import time

from tests.support.launching import mpi_command, run

PROGRAM = """
import sys, time
from pipeline import cli
from pipeline.parallel import launch

def fail():
    raise RuntimeError("a bug")

if launch.rank_and_size()[0] == 0:
    cli.exit_on_error(fail)
elif sys.argv[1] == "starts MPI":
    launch.world()
time.sleep(60)
"""


def test_a_rank_that_fails_starts_mpi_before_it_ends_all_ranks() -> None:
    # mpirun can hang if a rank ends while another rank connects to it.
    result = run(mpi_command(2, "-c", PROGRAM, "starts MPI"), timeout=50)
    assert result.returncode == 1
    assert "RuntimeError: a bug" in result.stderr
    assert "MPI_ABORT was invoked on rank 0" in result.stdout + result.stderr


def test_a_rank_that_fails_ends_ranks_that_do_not_start_mpi() -> None:
    start = time.monotonic()
    result = run(mpi_command(2, "-c", PROGRAM, "works on"), timeout=50)
    assert result.returncode != 0
    assert "RuntimeError: a bug" in result.stderr
    assert time.monotonic() - start < 30
