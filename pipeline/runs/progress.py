"""Progress bars on rank 0, in terminals only, and the last line of a stage."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pipeline.parallel import launch


def bar(
    items: Iterable[Any] | None, unit: str, *, rank: int, total: int | None = None, initial: int = 0
) -> tqdm:
    """Return a bar with the rate and the time left, over `items`, or over `total` steps of `update`.

    The bar is written to stdout, because mpirun forwards a terminal as stdout and makes stderr a pipe.
    """
    return tqdm(
        items,
        total=total,
        initial=initial,
        unit=f" {unit}",
        file=sys.stdout,
        dynamic_ncols=True,
        disable=None if rank == 0 else True,
    )


def report_output(
    stage: str,
    output: Path,
    next_stage: str,
    next_arguments: Sequence[str] | None = None,
    *,
    is_new: bool = True,
) -> None:
    """Print the last line of a stage: its main output, and the command of the next stage outside a chain.

    `next_arguments` are by default the overrides of this command line that apply to all stages. Output that
    is not new was complete before the stage began.
    """
    result = f"{stage}: {'wrote' if is_new else 'kept'} {output}"
    if launch.IN_CHAIN_VARIABLE in os.environ:
        print(result, flush=True)
        return
    if next_arguments is None:
        next_arguments = [
            argument for argument in sys.argv[1:] if not argument.startswith(_SINGLE_STAGE_OVERRIDES)
        ]
    command = shlex.join(["python", "-m", f"pipeline.{next_stage}", *next_arguments])
    print(f"{result}. Next: {command}", flush=True)


#: Overrides that apply to a single stage.
_SINGLE_STAGE_OVERRIDES = ("part=", "overwrite=")
