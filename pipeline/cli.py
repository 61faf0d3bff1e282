"""The command line of a stage: Hydra composes, `settings` checks, and one failing rank ends all."""

from __future__ import annotations

import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config import renamed_keys, settings, sweep
from pipeline.config.settings import Settings
from pipeline.parallel import launch, stopping
from pipeline.runs import lock

_OWN_PACKAGES = ("pipeline", "solvers", "surrogates")
#: Exit codes of a stage that a signal or a key ended, and a sweep with it.
_ASKED_TO_END = (stopping.EXIT_CODE, 130)


def main(
    stage: Callable[[Settings], None], after_sweep: Callable[[list[sweep.Job]], None] | None = None
) -> None:
    """Runs `stage` on the configuration that the command line asks for.

    A user's mistake ends in one message and exit code 2, any other exception in a traceback and exit
    code 1; either way every rank ends. Output that another process writes ends in 3, and a stage that
    stopped when it was asked to in 75 on rank 0, after all ranks were done.

    Of a sweep on one rank, a run that fails says why and the next one begins; the exit code is that of the
    first that failed. Then `after_sweep` tells, on rank 0, what came of all runs.
    """
    runs = sweep.Sweep()
    codes: list[int] = []

    def run(config: DictConfig) -> None:
        try:
            if not sweep.is_one():
                stage(settings.read(renamed_keys.current_configuration(sweep.plain(config))))
                return
            plain = renamed_keys.current_configuration(runs.begin(config))
            runs.jobs[-1].settings = settings.read(plain)
            stage(runs.jobs[-1].settings)
        except stopping.StoppedError as stopped:
            if launch.detect().rank > 0:
                sys.exit()
            print(f"stopped when asked to: {stopped}", flush=True)
            sys.exit(stopping.EXIT_CODE)
        except SystemExit as ended:
            if not runs.jobs or ended.code in _ASKED_TO_END:
                raise
            codes.append(int(ended.code or 0))
            runs.jobs[-1].failure = f"ended with exit code {ended.code}"
        except Exception as error:
            if not runs.jobs or launch.rank_and_size()[1] > 1:
                # Before Hydra sees it: it would print a line of its own.
                _end_all_ranks(error)
            codes.append(_tell(error))
            runs.jobs[-1].failure = _message(error)

    stopping.ignore()
    sys.argv[1:] = renamed_keys.current_overrides(sys.argv[1:])
    OmegaConf.register_new_resolver("choose", _choose, replace=True)
    # Hydra otherwise prints the exception itself and exits before the other ranks can be ended.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        hydra.main(version_base="1.3", config_path="pkg://configs", config_name="config")(run)()
        if runs.jobs and after_sweep is not None and launch.detect().rank == 0:
            after_sweep(runs.jobs)
    except Exception as error:
        _end_all_ranks(error)
    if codes:
        sys.exit(codes[0])


def exit_on_error(call: Callable[[], None]) -> None:
    """Calls without a configuration; an exception ends as those of `main` do."""
    try:
        call()
    except Exception as error:
        _end_all_ranks(error)


def _end_all_ranks(error: Exception) -> NoReturn:
    rank, size = launch.rank_and_size()
    if rank != 0:
        # An error that all ranks share is rank 0's to tell: it ends the others before they speak.
        time.sleep(1)
    code = _tell(error, f"[rank {rank} of {size}] " if size > 1 else "")
    mpi = sys.modules.get("mpi4py.MPI")
    if size > 1 and mpi is not None and mpi.Is_initialized() and not mpi.Is_finalized():
        mpi.COMM_WORLD.Abort(code)
    sys.stdout.flush()
    if size > 1:
        os._exit(code)
    sys.exit(code)


def _tell(error: Exception, where: str = "") -> int:
    """Prints what went wrong; the exit code for it."""
    if not _is_users_mistake(error):
        print(f"{where}{''.join(traceback.format_exception(error))}", file=sys.stderr, flush=True)
        return 1
    print(f"{where}error: {_message(error)}", file=sys.stderr, flush=True)
    return lock.EXIT_CODE if isinstance(error, lock.LockedError) else 2


def _choose(key: str, values: Mapping[str, Any], otherwise: Any) -> Any:
    """In a YAML, a value that depends on another: `${choose:${surrogate.name},{mlp: 4000},1000}`."""
    return values.get(key, otherwise)


def _is_users_mistake(error: Exception) -> bool:
    """Hydra's complaints, and a ValueError or OSError that this project's own code raised."""
    if isinstance(error, (HydraException, OmegaConfBaseException, lock.LockedError)):
        return True
    if not isinstance(error, (ValueError, OSError)):
        return False
    module = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        module = frame.f_globals.get("__name__", "")
        if module == "__main__":
            module = getattr(frame.f_globals.get("__spec__"), "name", "")
    return module.split(".")[0] in _OWN_PACKAGES


def _message(error: Exception) -> str:
    if not isinstance(error, (HydraException, OmegaConfBaseException)):
        return str(error)
    text = str(error.__cause__ or error)
    unknown = re.search(r"Key '([^']+)' is not in struct\s+full_key: ([\w.\[\]]+)", text)
    if unknown:
        return f"{unknown[2]}: there is no such key; {_nearest_key(unknown[2])}"
    choice = re.search(r"Could not find '([\w/]+)/([^/']+)'", str(error))
    if choice:
        return f"{choice[1]}={choice[2]}: there is no such choice; {_nearest_choice(*choice.groups())}"
    return str(error)


def _nearest_key(full_key: str) -> str:
    *parents, key = full_key.split(".")
    with hydra.initialize_config_module("configs", version_base="1.3"):
        config = hydra.compose("config", overrides=_group_choices())
    section = OmegaConf.select(config, ".".join(parents)) if parents else config
    return settings.nearest(key, [str(name) for name in section] if section is not None else [])


def _group_choices() -> list[str]:
    """The overrides of this command line that choose a YAML, which decide the legal keys."""
    groups = {folder.name for folder in _config_folder().iterdir() if folder.is_dir()}
    return [word for word in sys.argv[1:] if word.split("=")[0].lstrip("+") in groups and "{" not in word]


def _nearest_choice(group: str, choice: str) -> str:
    return settings.nearest(choice, [path.stem for path in (_config_folder() / group).glob("*.yaml")])


def _config_folder() -> Path:
    import configs

    return Path(configs.__path__[0])
