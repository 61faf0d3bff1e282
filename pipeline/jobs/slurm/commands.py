"""The commands about a submitted chain: status, wait and cancel."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser

from pipeline.jobs.slurm import chain, display, follow
from pipeline.runs.folder import RunFolder
from simsurrogate.errors import UserError


def status(arguments: Sequence[str]) -> None:
    """Show the chain in the folder `run=`: once, with `--json` as JSON, or with `--watch` until its end."""
    options = [argument for argument in arguments if argument.startswith("-")]
    run = run_folder([argument for argument in arguments if not argument.startswith("-")])
    match options:
        case []:
            display.show(run)
        case ["--json"]:
            display.show_json(run)
        case ["--watch"]:
            with _quiet_interrupt():
                follow.watch(run)
        case _:
            raise UserError(
                f"status {' '.join(options)}: status takes --json or --watch. Type python -m pipeline.chain "
                "status --watch run=FOLDER"
            )


def wait(arguments: Sequence[str]) -> None:
    """Wait for the end of the chain in the folder `run=`; exit with code 1 unless all jobs are done."""
    with _quiet_interrupt():
        is_done = follow.wait(run_folder(arguments))
    if not is_done:
        sys.exit(1)


def cancel(arguments: Sequence[str]) -> None:
    """Cancel the chain in the folder `run=`."""
    chain.cancel(run_folder(arguments))


def run_folder(arguments: Sequence[str]) -> RunFolder:
    """Return the folder that `run=` names.

    Raises:
        UserError: the arguments do not name a folder.
    """
    for argument in arguments:
        if "=" not in argument:
            raise UserError(f"{argument!r} is not of the form KEY=VALUE. Type run=FOLDER to name the chain")
    for override in OverridesParser.create().parse_overrides(list(arguments)):
        if override.key_or_group == "run" and (override.value() or "") and str(override.value()).strip():
            return RunFolder.at(Path(str(override.value())))
    raise UserError("no chain is named. The run folder identifies a chain. Type run=FOLDER to name the chain")


@contextmanager
def _quiet_interrupt() -> Iterator[None]:
    """End this process without a traceback on Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(130) from None
