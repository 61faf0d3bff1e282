"""The command line of a stage: Hydra composes, `settings` checks, and one failing rank ends all ranks."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import NoReturn

from omegaconf import DictConfig

from pipeline.config import compose, settings, sweep
from pipeline.config.messages import USER_ERRORS, message
from pipeline.config.settings import Settings
from pipeline.parallel import launch, stopping
from pipeline.runs import lock

#: Exit codes of a stage that a signal or Ctrl-C ended; both also end a sweep.
_STOP_CODES = (stopping.EXIT_CODE, 130)


def main(
    stage: Callable[[Settings], None], after_sweep: Callable[[list[sweep.Job]], None] | None = None
) -> None:
    """Run `stage` on the configuration of the command line.

    A user's mistake ends with one message and exit code 2, every other exception with its traceback and exit
    code 1; either ends all ranks. Exit code 3 means that another process writes the output. A stage that
    stopped on request exits with 75 on rank 0 after all ranks are done.

    In a sweep on one rank, a failed run prints its error and the next run starts; the exit code is that of
    the first failed run. After all runs, rank 0 calls `after_sweep`.
    """
    runs = sweep.Sweep()
    codes: list[int] = []

    def run(config: DictConfig) -> None:
        try:
            if not compose.is_sweep():
                stage(settings.read(compose.plain(config)))
                return
            configuration = runs.begin(config)
            runs.jobs[-1].settings = settings.read(configuration)
            stage(runs.jobs[-1].settings)
        except stopping.StoppedError as stopped:
            if launch.detect().rank > 0:
                sys.exit()
            print(f"stopped on request: {stopped}", flush=True)
            sys.exit(stopping.EXIT_CODE)
        except SystemExit as ended:
            if not runs.jobs or ended.code in _STOP_CODES:
                raise
            codes.append(int(ended.code or 0))
            runs.jobs[-1].failure = f"ended with exit code {ended.code}"
        except Exception as error:
            if not runs.jobs or launch.rank_and_size()[1] > 1:
                # The process ends here, because Hydra would print a line of its own for the exception.
                _end_all_ranks(error)
            codes.append(_report(error))
            runs.jobs[-1].failure = message(error)

    stopping.ignore()
    try:
        compose.run(run)
        if runs.jobs and after_sweep is not None and launch.detect().rank == 0:
            after_sweep(runs.jobs)
    except Exception as error:
        _end_all_ranks(error)
    if codes:
        sys.exit(codes[0])


def exit_on_error(call: Callable[[], None]) -> None:
    """Call a function without a configuration; an exception ends the process as in `main`."""
    try:
        call()
    except Exception as error:
        _end_all_ranks(error)


def _end_all_ranks(error: Exception) -> NoReturn:
    rank, size = launch.rank_and_size()
    if rank != 0:
        # Rank 0 reports an error that all ranks share, and ends the other ranks within this time.
        time.sleep(1)
    code = _report(error, f"[rank {rank} of {size}] " if size > 1 else "")
    mpi = sys.modules.get("mpi4py.MPI")
    if size > 1 and mpi is not None and mpi.Is_initialized() and not mpi.Is_finalized():
        mpi.COMM_WORLD.Abort(code)
    sys.stdout.flush()
    if size > 1:
        os._exit(code)
    sys.exit(code)


def _report(error: Exception, prefix: str = "") -> int:
    """Print an error, with its traceback unless it is a user's mistake; return the exit code."""
    if not isinstance(error, USER_ERRORS):
        print(f"{prefix}{''.join(traceback.format_exception(error))}", file=sys.stderr, flush=True)
        return 1
    print(f"{prefix}error: {message(error)}", file=sys.stderr, flush=True)
    return lock.EXIT_CODE if isinstance(error, lock.LockedError) else 2
