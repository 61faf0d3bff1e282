"""A stage with one fault, started as a user starts it; the solver is `solvers/drift.py` of this folder.

    mpirun -n 3 python -m tests.faults.stage generate kill:1:2 run=...

A fault is `none` or the name of a function below, followed by the function's arguments after colons.
"""

from __future__ import annotations

import atexit
import importlib
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import cli
from pipeline.data import plan
from pipeline.parallel import launch
from pipeline.runs import records
from solvers.contract import solver_class

DRIFT = Path(__file__).parent / "solvers" / "drift.py"


def drift_words(*overrides: str) -> list[str]:
    """Return the overrides after those that choose the drift solver, unless they choose another solver."""
    if any(word.startswith("solver=") for word in overrides):
        return list(overrides)
    return [f"solver.path={DRIFT}", "solver.resolution=[12]", *overrides]


def drift_trajectory() -> Any:
    """Return the class of the drift solver's trajectories."""
    return sys.modules[solver_class("drift", DRIFT).__module__].DriftTrajectory


def fail_from_call(
    number: int, original: Callable[..., Any], fault: Callable[..., Any]
) -> Callable[..., Any]:
    """Return a function that calls `original`, and from call `number` on calls `fault` instead."""
    count = 0

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        return (fault if count >= number else original)(*arguments, **options)

    return counted


def kill_this_process(*_: Any, **__: Any) -> None:
    """Send SIGKILL to this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill(rank: int, number: int) -> None:
    """Kill a rank in the middle of a trajectory, before call `number` of `advance`."""
    if launch.detect().rank != rank:
        return
    names = [word.partition("=")[2] for word in sys.argv if word.startswith("solver=")]
    solver: Any = solver_class(names[0]) if names else solver_class("drift", DRIFT)
    prepare = solver.prepare
    trajectory_class: Any = None

    def prepare_with_fault(self: Any, parameters: Any) -> Any:
        nonlocal trajectory_class
        trajectory = prepare(self, parameters)
        if trajectory_class is None:
            trajectory_class = type(trajectory)
            trajectory_class.advance = fail_from_call(number, trajectory_class.advance, kill_this_process)
        return trajectory

    solver.prepare = prepare_with_fault


def kill_publishing(name_end: str, number: int, moment: str) -> None:
    """Kill the process `before` or `after` rename `number` to a file whose name ends with `name_end`."""
    original = Path.replace
    count = 0

    def replace(self: Path, target: Path) -> Path:
        nonlocal count
        matches = str(target).endswith(name_end)
        count += matches
        is_chosen = matches and count == number
        if is_chosen and moment == "before":
            kill_this_process()
        result = original(self, target)
        if is_chosen:
            kill_this_process()
        return result

    Path.replace = replace  # type: ignore[method-assign]


def raises(rank: int, number: int) -> None:
    """Raise an exception on one rank from call `number` of `advance` on, and print the time."""

    def advance(*_: Any) -> None:
        print(f"raises at {time.time()} s", flush=True)
        raise RuntimeError("the solver broke")

    if launch.detect().rank == rank:
        trajectory_class = drift_trajectory()
        trajectory_class.advance = fail_from_call(number, trajectory_class.advance, advance)


def nan(index: int) -> None:
    """Put NaN near the end of the trajectory `index` of the data set with seed 0."""
    trajectory_class = drift_trajectory()
    original = trajectory_class.advance
    chosen_amplitude = plan.generator(0, index).uniform([0.5, 1.0], [1.0, 2.0])[0]

    def advance(self: Any, state: Any, time: float, duration: float) -> Any:
        new_state = original(self, state, time, duration)
        if self.parameters["amplitude"] == chosen_amplitude and time > 0.06:
            new_state[0, 0] = np.nan
        return new_state

    trajectory_class.advance = advance


def signalled() -> None:
    """Send SIGUSR1 to this process at the start of the stage's work."""
    original = records.run_record

    def run_record(*arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGUSR1)
        return original(*arguments)

    records.run_record = run_record


def none() -> None:
    """Change nothing."""


def memory() -> None:
    """Change nothing; print the peak memory of each rank at its end."""
    rank = launch.detect().rank
    atexit.register(
        lambda: print(f"rank {rank}: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss} KiB at most")
    )


def writes() -> None:
    """Change nothing; print the number of `os.pwrite` calls at the end."""
    calls = []
    original = os.pwrite
    os.pwrite = lambda *arguments: calls.append(1) or original(*arguments)  # type: ignore[func-returns-value]
    atexit.register(lambda: print(f"{len(calls)} writes"))


FAULTS = {
    fault.__name__: fault for fault in (none, signalled, memory, writes, kill, kill_publishing, raises, nan)
}

if __name__ == "__main__":
    stage, fault_and_arguments, *overrides = sys.argv[1:]
    fault_name, *arguments = fault_and_arguments.split(":")
    FAULTS[fault_name](*(int(argument) if argument.isdigit() else argument for argument in arguments))
    sys.argv = [stage, *drift_words(*overrides)]
    cli.main(importlib.import_module(f"pipeline.{stage}").run)
