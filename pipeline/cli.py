"""The command line of a stage: composition by Hydra, checks by `settings`, and the end after an error."""

from __future__ import annotations

import importlib.metadata
import math
import sys
import time
import traceback
from collections.abc import Callable
from typing import NoReturn

from omegaconf import DictConfig

from pipeline.config import compose, settings, sweep
from pipeline.config.messages import is_for_user, message
from pipeline.config.settings import Settings
from pipeline.parallel import ending, launch, stopping
from pipeline.runs import lock, tolerant_output

#: The exit code after Ctrl-C: 128 plus the number of SIGINT.
_INTERRUPTED = 130
#: Exit codes of a stage that a signal or Ctrl-C ended. These exit codes also end a sweep.
_STOP_CODES = (stopping.EXIT_CODE, _INTERRUPTED)

_HELP = """
Arguments have the form KEY=VALUE and override the configuration.

  run=FOLDER            the run folder
  solver=NAME           also surrogate=NAME, experiment=NAME, launcher=NAME; `simsurrogate` lists the names
  --cfg job             print the composed configuration, with every key, without running anything
  -m KEY=A,B            run once for each value
  --config-dir FOLDER   search this folder for YAML files too
  --version             print the version
  --hydra-help          print all options of Hydra"""


def main(
    stage: Callable[[Settings], float | None], after_sweep: Callable[[list[sweep.Job]], None] | None = None
) -> None:
    """Run `stage` on the configuration of the command line.

    A user's mistake ends all ranks with one message and exit code 2. Every other exception ends all ranks
    with its traceback and exit code 1. Exit code 3 means that another process writes the output. A stage that
    stopped on request exits with 75 on rank 0 after all ranks are done.

    In a sweep on one rank, a failed run prints its error and the next run starts; the exit code is that of
    the first failed run. After all runs, rank 0 calls `after_sweep`.

    The sweeper receives the result of the stage, its objective: the smaller, the better. A failed run has
    the objective infinity.
    """
    if _print_help(sys.argv[1:]):
        return
    current_sweep = sweep.Sweep()
    exit_codes: list[int] = []

    def run(config: DictConfig) -> float | None:
        try:
            if not compose.is_sweep():
                return stage(settings.read(compose.plain_configuration(config)))
            configuration = current_sweep.begin(config)
            current_sweep.jobs[-1].settings = settings.read(configuration)
            return stage(current_sweep.jobs[-1].settings)
        except stopping.StoppedError as stop:
            if launch.detect().rank > 0:
                sys.exit()
            print(f"stopped on request: {stop}", flush=True)
            sys.exit(stopping.EXIT_CODE)
        except SystemExit as system_exit:
            if not current_sweep.jobs or system_exit.code in _STOP_CODES:
                raise
            exit_codes.append(int(system_exit.code or 0))
            current_sweep.jobs[-1].failure = f"ended with exit code {system_exit.code}"
        except Exception as error:
            if not current_sweep.jobs or launch.rank_and_size()[1] > 1:
                # The process ends here, because Hydra would print a line of its own for the exception.
                _end_all_ranks(error)
            exit_codes.append(_report(error))
            current_sweep.jobs[-1].failure = message(error)
        return math.inf

    stopping.ignore()
    tolerant_output.install()
    try:
        compose.run(run)
        if current_sweep.jobs and after_sweep is not None and launch.detect().rank == 0:
            after_sweep(current_sweep.jobs)
    except KeyboardInterrupt:
        rank, size = launch.rank_and_size()
        if size == 1:
            raise
        # Without an abort, this rank would wait at the end of MPI, and the other ranks for this rank.
        print(f"[rank {rank} of {size}] interrupted", file=sys.stderr, flush=True)
        ending.abort(_INTERRUPTED)
    except Exception as error:
        _end_all_ranks(error)
    if exit_codes:
        sys.exit(exit_codes[0])


def _print_help(arguments: list[str]) -> bool:
    """Print the help or the version if the command line asks for it; return whether it does."""
    if "--version" in arguments:
        print(f"simsurrogate {importlib.metadata.version('simsurrogate')}")
        return True
    if not {"-h", "--help"} & set(arguments):
        return False
    print((sys.modules["__main__"].__doc__ or "").strip())
    print(_HELP)
    return True


def exit_on_error(function: Callable[[], None]) -> None:
    """Call a function that needs no configuration. An exception ends the process as in `main`."""
    tolerant_output.install()
    try:
        function()
    except Exception as error:
        _end_all_ranks(error)


def _end_all_ranks(error: Exception) -> NoReturn:
    rank, size = launch.rank_and_size()
    is_shared = size > 1 and is_for_user(error)
    # Rank 0 reports an error that all ranks share, and ends the other ranks within this time.
    if rank != 0 and not (is_shared and ending.end_together(0)):
        time.sleep(1)
    exit_code = _report(error, f"[rank {rank} of {size}] " if size > 1 else "")
    if rank == 0 and is_shared:
        ending.end_together(exit_code)
    if size > 1:
        ending.abort(exit_code)
    sys.exit(exit_code)


def _report(error: Exception, prefix: str = "") -> int:
    """Print an error, with its traceback unless it is a user's mistake; return the exit code."""
    if not is_for_user(error):
        print(f"{prefix}{''.join(traceback.format_exception(error))}", file=sys.stderr, flush=True)
        return 1
    print(f"{prefix}error: {message(error)}", file=sys.stderr, flush=True)
    return lock.EXIT_CODE if isinstance(error, lock.LockedError) else 2
