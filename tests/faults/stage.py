"""A stage with one fault, started as a user starts a stage, with the solver `solvers/drift.py`.

    mpirun -n 3 python -m tests.faults.stage generate kill:1:2 run=...

A fault is `none` or the name of a function below, followed by the function's arguments after colons.
"""

from __future__ import annotations

import atexit
import importlib
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import cli
from pipeline.data import plan
from pipeline.generation import shards
from pipeline.parallel import heartbeats, launch
from pipeline.runs import records
from solvers.contract import solver_class

DRIFT = Path(__file__).parent / "solvers" / "drift.py"


def drift_overrides(*overrides: str) -> list[str]:
    """Return the overrides, preceded by the choice of the drift solver unless they choose a solver."""
    if any(override.startswith("solver=") for override in overrides):
        return list(overrides)
    return [f"solver.path={DRIFT}", "solver.resolution=[12]", *overrides]


def drift_trajectory() -> Any:
    """Return the class of the drift solver's trajectories."""
    return sys.modules[solver_class("drift", DRIFT).__module__].DriftTrajectory


def fail_from_call(
    call_number: int, function: Callable[..., Any], fault: Callable[..., Any]
) -> Callable[..., Any]:
    """Return a function that calls `fault` from call `call_number` on, and `function` before."""
    count = 0

    def counted_call(*arguments: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        return (fault if count >= call_number else function)(*arguments, **options)

    return counted_call


def kill_this_process(*_: Any, **__: Any) -> None:
    """Send SIGKILL to this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill(rank: int, call_number: int) -> None:
    """Kill a rank in the middle of a trajectory, before call `call_number` of `advance`."""
    if launch.detect().rank != rank:
        return
    solver_names = [argument.partition("=")[2] for argument in sys.argv if argument.startswith("solver=")]
    solver: Any = solver_class(solver_names[0]) if solver_names else solver_class("drift", DRIFT)
    original_prepare = solver.prepare
    trajectory_class: Any = None

    def prepare_with_fault(self: Any, parameters: Any) -> Any:
        nonlocal trajectory_class
        trajectory = original_prepare(self, parameters)
        if trajectory_class is None:
            trajectory_class = type(trajectory)
            trajectory_class.advance = fail_from_call(
                call_number, trajectory_class.advance, kill_this_process
            )
        return trajectory

    solver.prepare = prepare_with_fault


def kill_publishing(name_end: str, rename_number: int, moment: str) -> None:
    """Kill the process `before` or `after` the rename `rename_number` to a name that ends with `name_end`."""
    original_replace = Path.replace
    count = 0

    def replace_and_kill(self: Path, target: Path) -> Path:
        nonlocal count
        is_match = str(target).endswith(name_end)
        count += is_match
        is_chosen = is_match and count == rename_number
        if is_chosen and moment == "before":
            kill_this_process()
        new_path = original_replace(self, target)
        if is_chosen:
            kill_this_process()
        return new_path

    Path.replace = replace_and_kill  # type: ignore[method-assign]


def fills_disk(num_free_bytes: int) -> None:
    """Let another program fill the disk of the run folder, before the first shard."""
    original_make = shards.ShardMaker.make

    def make(self: shards.ShardMaker, shard: plan.Shard) -> Any:
        disk = self.folder.parent.parent
        if not (disk / "ballast").exists():
            (disk / "ballast").write_bytes(bytes(shutil.disk_usage(disk).free - num_free_bytes))
        return original_make(self, shard)

    shards.ShardMaker.make = make  # type: ignore[method-assign]


def stops(rank: int, call_number: int, timeout_seconds: int) -> None:
    """Stop a rank with SIGSTOP before call `call_number` of `advance`, with a shorter time-out."""
    heartbeats.TIMEOUT = timedelta(seconds=timeout_seconds)

    def stop(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    if launch.detect().rank == rank:
        trajectory_class = drift_trajectory()
        trajectory_class.advance = fail_from_call(call_number, trajectory_class.advance, stop)


def raises(rank: int, call_number: int) -> None:
    """Raise an exception on one rank from call `call_number` of `advance` on, and print the time."""

    def raise_error(*_: Any) -> None:
        print(f"raises at {time.time()} s", flush=True)
        raise RuntimeError("the solver broke")

    if launch.detect().rank == rank:
        trajectory_class = drift_trajectory()
        trajectory_class.advance = fail_from_call(call_number, trajectory_class.advance, raise_error)


def nan(index: int) -> None:
    """Put NaN near the end of the trajectory `index` of the data set with seed 0."""
    trajectory_class = drift_trajectory()
    original_advance = trajectory_class.advance
    chosen_amplitude = plan.generator(0, index).uniform([0.5, 1.0], [1.0, 2.0])[0]

    def advance_to_nan(self: Any, state: Any, time: float, duration: float) -> Any:
        new_state = original_advance(self, state, time, duration)
        if self.parameters["amplitude"] == chosen_amplitude and time > 0.06:
            new_state[0, 0] = np.nan
        return new_state

    trajectory_class.advance = advance_to_nan


def signalled() -> None:
    """Send SIGUSR1 to this process at the start of the stage's work."""
    original_run_record = records.run_record

    def run_record(*arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGUSR1)
        return original_run_record(*arguments)

    records.run_record = run_record


def none() -> None:
    """Change nothing."""


def memory() -> None:
    """Print the peak memory of each rank at its end, and change nothing."""
    rank = launch.detect().rank
    atexit.register(
        lambda: print(f"rank {rank}: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss} KiB at most")
    )


def writes() -> None:
    """Print the number of `os.pwrite` calls at the end, and change nothing."""
    calls = []
    original_pwrite = os.pwrite
    os.pwrite = lambda *arguments: calls.append(1) or original_pwrite(*arguments)  # type: ignore[func-returns-value]
    atexit.register(lambda: print(f"{len(calls)} writes"))


FAULTS = {
    fault.__name__: fault
    for fault in (none, signalled, memory, writes, kill, kill_publishing, raises, stops, nan, fills_disk)
}

if __name__ == "__main__":
    stage, fault_and_arguments, *overrides = sys.argv[1:]
    fault_name, *arguments = fault_and_arguments.split(":")
    FAULTS[fault_name](*(int(argument) if argument.isdigit() else argument for argument in arguments))
    sys.argv = [stage, *drift_overrides(*overrides)]
    cli.main(importlib.import_module(f"pipeline.{stage}").run)
