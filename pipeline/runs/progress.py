"""Progress bars for long work: on rank 0 alone, and only in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def bar(
    items: Iterable[Any] | None, unit: str, *, rank: int, total: int | None = None, initial: int = 0
) -> tqdm:
    """A bar with the rate and the time left, over `items`, or over `total` steps told by `update`.

    It goes to stdout, since mpirun passes a terminal on as stdout and makes a pipe of stderr.
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
