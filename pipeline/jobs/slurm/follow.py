"""The display of a chain until its end, and the wait for the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TextIO

from rich.live import Live

from pipeline.jobs.slurm import display
from pipeline.jobs.slurm.display import ChainStatus
from pipeline.runs.folder import RunFolder
from simsurrogate.errors import UserError

#: The shortest and the longest pause (s) between two questions to Slurm. The pause doubles without a change.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


def watch(run: RunFolder) -> None:
    """Show a chain until its end: on a terminal the table, elsewhere one line for each change.

    Raises:
        UserError: no chain of jobs was started in this folder, or Slurm does not answer at the start.
    """
    for _ in _shown(run, sys.stdout):
        pass


def wait(run: RunFolder) -> bool:
    """Show a chain until its end, print the state of its jobs, and return whether all jobs are done.

    Off a terminal, the lines for the changes go to stderr.

    Raises:
        UserError: no chain of jobs was started in this folder, Slurm does not answer at the start, or Slurm
            shows the jobs to their owner only.
    """
    for chain in _shown(run, sys.stderr, is_transient=True):
        display.refuse_hidden_jobs(chain, "wait")
    display.print_status(chain, display.console())
    return chain.state == "done"


def _shown(run: RunFolder, lines: TextIO, *, is_transient: bool = False) -> Iterator[ChainStatus]:
    """Yield the state of a chain until its end, and show it: as a table on a terminal, else as `lines`."""
    console = display.console()
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=is_transient) as live:
            for chain in _until_end(run):
                yield chain
                live.update(display.render(chain), refresh=True)
        return
    shown_texts: dict[str, str] = {}
    for chain in _until_end(run):
        yield chain
        for name, text in _texts(chain).items():
            if shown_texts.get(name) != text:
                print(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {name} {text}", file=lines, flush=True)
        shown_texts = _texts(chain)
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} chain {chain.state}", file=lines, flush=True)


def _until_end(run: RunFolder) -> Iterator[ChainStatus]:
    """Yield the state of a chain repeatedly until all jobs have ended."""
    chain = display.read(run)
    pause = _FIRST_PAUSE
    while True:
        yield chain
        if chain.has_ended:
            return
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
        try:
            next_chain = display.read(run)
        except UserError as error:
            # The controller may be restarting.
            print(f"note: {error}", file=sys.stderr, flush=True)
            continue
        if _texts(next_chain) != _texts(chain):
            pause = _FIRST_PAUSE
        chain = next_chain


def _texts(chain: ChainStatus) -> dict[str, str]:
    """Return the state of each task in words, without the progress and the estimates, which change often."""
    return {
        f"{task.name} {task.key}": " ".join(
            [task.state, *([f"({task.reason})"] if task.reason and task.state != "running" else [])]
        )
        for task in chain.tasks
    }
