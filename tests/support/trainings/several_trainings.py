"""Several trainings one after the other, on the ranks of one mpirun: `several_trainings.py FILE`.

FILE is JSON with `runs`, a list of command lines, and `stops`. The list `stops` holds the steps in which rank
0 receives SIGUSR1 in the first runs (0 for no signal). Each rank prints `allreduces NUMBER` after each run.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline import train
from pipeline.parallel import launch
from pipeline.parallel.stopping import StoppedError
from pipeline.training import fit, loop, step
from tests.support.trainings.training_cases import no_curves, read_settings


def main(file: Path) -> None:
    """Train all runs of a file."""
    document = json.loads(file.read_text())
    runs, stops = document["runs"], document["stops"]
    fit.draw_curves = no_curves
    mean_over_ranks = step.mean_over_ranks
    for index, overrides in enumerate(runs):
        allreduces: list[int] = []

        # torch compares annotations with types. In this module annotations would be strings.
        def count_allreduces(communicator, bucket, allreduces=allreduces):  # type: ignore[no-untyped-def]
            allreduces.append(bucket.index())
            return mean_over_ranks(communicator, bucket)

        step.mean_over_ranks = count_allreduces
        stop = stops[index] if index < len(stops) else 0
        if stop:
            with stop_in_step(stop), suppress(StoppedError):
                train.run(read_settings(*overrides))
                raise AssertionError(f"{overrides} was not stopped")
        else:
            train.run(read_settings(*overrides))
        print(f"allreduces {len(allreduces)}\n", end="", flush=True)


@contextmanager
def stop_in_step(stop_step: int) -> Iterator[None]:
    """Send SIGUSR1 to rank 0 in an optimiser step, so training ends after the next step."""
    original_step = loop._take_step

    def step_with_signal(*arguments: Any) -> Any:
        result = original_step(*arguments)
        if arguments[2].step == stop_step and launch.detect().rank == 0:
            os.kill(os.getpid(), signal.SIGUSR1)
        return result

    loop._take_step = step_with_signal
    try:
        yield
    finally:
        loop._take_step = original_step


if __name__ == "__main__":
    main(Path(sys.argv[1]))
