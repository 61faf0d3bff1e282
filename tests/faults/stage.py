"""Runs a stage as its users do, on the small solvers of this folder, with one fault built in.

    mpirun -n 3 python tests/faults/stage.py generate kill:1:2 run=...

A fault is `none`, or a name below with its numbers after colons.
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

import solvers
from pipeline import cli
from pipeline.data import plan
from pipeline.parallel import launch
from pipeline.runs import records

HERE = Path(__file__).parent
solvers.__path__.append(str(HERE / "solvers"))
from solvers.drift import DriftTrajectory  # type: ignore[import-not-found]  # noqa: E402

from solvers.contract import solver_class  # noqa: E402


def after(calls: int, original: Callable[..., Any], fault: Callable[..., Any]) -> Callable[..., Any]:
    """`original`, but from call number `calls` on, `fault` with the same arguments."""
    count = 0

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        return (fault if count >= calls else original)(*arguments, **options)

    return counted


def kill_this_process(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill(rank: int, calls: int) -> None:
    """SIGKILL of a rank in the middle of a trajectory, before its call number `calls` of `advance`."""
    if launch.detect().rank == rank:
        name = next((one.partition("=")[2] for one in sys.argv if one.startswith("solver=")), "drift")
        solver: Any = solver_class(name)
        prepare = solver.prepare
        kind: Any = None

        def prepare_with_fault(self: Any, parameters: Any) -> Any:
            nonlocal kind
            trajectory = prepare(self, parameters)
            if kind is None:
                kind = type(trajectory)
                kind.advance = after(calls, kind.advance, kill_this_process)
            return trajectory

        solver.prepare = prepare_with_fault


def kill_publishing(name_end: str, calls: int, when: str) -> None:
    """SIGKILL at the rename of the file number `calls` whose name ends so, `before` or `after` it."""
    original = Path.replace
    found = 0

    def replace(self: Path, target: Path) -> Path:
        nonlocal found
        found += str(target).endswith(name_end)
        here = found == calls and str(target).endswith(name_end)
        if here and when == "before":
            kill_this_process()
        result = original(self, target)
        if here:
            kill_this_process()
        return result

    Path.replace = replace  # type: ignore[method-assign]


def raises(rank: int, calls: int) -> None:
    """An exception on one rank, which prints the time."""

    def broken(*_: Any) -> None:
        print(f"raises at {time.time()} s", flush=True)
        raise RuntimeError("the solver broke")

    if launch.detect().rank == rank:
        DriftTrajectory.advance = after(calls, DriftTrajectory.advance, broken)


def nan(index: int) -> None:
    """NaN near the end of one trajectory of the data set with seed 0."""
    original = DriftTrajectory.advance
    spoiled = plan.generator(0, index).uniform([0.5, 1.0], [1.0, 2.0])[0]

    def advance(self: Any, state: Any, at: float, duration: float) -> Any:
        result = original(self, state, at, duration)
        if self.parameters["amplitude"] == spoiled and at > 0.06:
            result[0, 0] = np.nan
        return result

    DriftTrajectory.advance = advance


def signalled() -> None:
    """SIGUSR1 comes when the stage begins its work."""
    original = records.run_record

    def run_record(*arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGUSR1)
        return original(*arguments)

    records.run_record = run_record


def none() -> None:
    """No fault."""


def memory() -> None:
    """No fault; each rank tells its peak memory when it ends."""
    rank = launch.detect().rank
    atexit.register(
        lambda: print(f"rank {rank}: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss} KiB at most")
    )


def writes() -> None:
    """No fault; the process tells how often it wrote values when it ends."""
    calls = []
    original = os.pwrite
    os.pwrite = lambda *arguments: calls.append(1) or original(*arguments)  # type: ignore[func-returns-value]
    atexit.register(lambda: print(f"{len(calls)} writes"))


FAULTS = {one.__name__: one for one in (none, signalled, memory, writes, kill, kill_publishing, raises, nan)}

if __name__ == "__main__":
    stage, fault, *overrides = sys.argv[1:]
    name, *numbers = fault.split(":")
    FAULTS[name](*(int(one) if one.isdigit() else one for one in numbers))
    solver = [] if any(one.startswith("solver=") for one in overrides) else ["solver=drift"]
    sys.argv = [stage, f"hydra.searchpath=[file://{HERE / 'configs'}]", *solver, *overrides]
    cli.main(importlib.import_module(f"pipeline.{stage}").run)
