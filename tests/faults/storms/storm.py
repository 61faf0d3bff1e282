"""Storms: chains that are killed at random moments and restarted until they are done."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.support import forked
from tests.support.launching import environment

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
VICTIMS = ("group", "rank", "launcher", "chain")
#: The longest time (s) until all processes of a killed chain have ended.
END_SECONDS = 10.0
#: The time (s) after which a chain with new processes goes on.
_WAIT = 3.0


class Attempt(Protocol):
    """A started chain, the leader of a session."""

    pid: int | None

    def wait_seconds(self, seconds: float) -> int | None:
        """Return the exit code, or None if the chain still runs after this time."""


class ForkedChain:
    """A chain of stages on one rank, forked after the imports."""

    def __init__(self, arguments: Sequence[str], output: Path):
        self._process = forked.start_forked(forked.chain, output, arguments)
        self.pid = self._process.pid

    def wait_seconds(self, seconds: float) -> int | None:
        """Return the exit code, or None."""
        return forked.exit_code_within(self._process, seconds)


class RealChain:
    """`python -m pipeline.chain`, as a user starts it in a terminal of its own."""

    def __init__(self, arguments: Sequence[str], output: Path):
        with output.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pipeline.chain", *arguments],
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
                # Background jobs of a shell ignore SIGINT, and jobs under nohup ignore SIGHUP.
                preexec_fn=_default_reactions,  # noqa: PLW1509
            )
        self.pid = self._process.pid

    def wait_seconds(self, seconds: float) -> int | None:
        """Return the exit code, or None."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None


def _default_reactions() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@dataclass
class Kill:
    """A signal that ended a chain.

    `lost_seconds` is the time between the last file that a restart keeps, or the start, and the kill.
    """

    signal_name: str
    victim: str
    stage: str
    lost_seconds: float
    seconds_to_end: float


@dataclass
class Storm:
    """The kills of a storm and the number of finished runs."""

    kills: list[Kill] = field(default_factory=list)
    num_runs: int = 0

    @property
    def mean_lost_seconds(self) -> float:
        """The mean time of the work that a kill lost (s)."""
        return sum(kill.lost_seconds for kill in self.kills) / len(self.kills)

    def summary(self, undisturbed_seconds: float) -> str:
        """Return one line with the figures of the storm."""
        counts = {
            name: dict(Counter(getattr(kill, name) for kill in self.kills))
            for name in ("signal_name", "victim", "stage")
        }
        return (
            f"{len(self.kills)} kills in {self.num_runs} runs; {counts}; all processes ended within "
            f"{max(kill.seconds_to_end for kill in self.kills):.1f} s; a kill lost "
            f"{self.mean_lost_seconds:.2f} s of work on average and "
            f"{max(kill.lost_seconds for kill in self.kills):.2f} s at most; an undisturbed chain takes "
            f"{undisturbed_seconds:.2f} s"
        )


def run_storm(
    start: Callable[[Sequence[str], Path], Attempt],
    folder: Path,
    overrides: Sequence[str],
    num_kills: int,
    undisturbed_seconds: float,
    check: Callable[[Path], None],
    seed: int,
) -> Storm:
    """Kill and restart chains until `num_kills` chains were killed, and call `check` on each finished run.

    A chain that finishes before its kill counts as a finished run; the next chain writes to a new folder. The
    longest time before a kill grows within a run, so that a busy machine reaches all stages too.
    """
    rng, storm = random.Random(seed), Storm()
    while True:
        run = folder / f"run-{storm.num_runs}"
        is_finished, latest = False, 0.3
        while not is_finished:
            start_time = time.time()
            attempt = start([f"run={run}", *overrides], folder / f"{run.name}.log")
            latest += 0.05
            delay = rng.uniform(0.02, latest) * undisturbed_seconds
            may_kill = len(storm.kills) < num_kills
            exit_code = attempt.wait_seconds(delay if may_kill else 30 + 20 * undisturbed_seconds)
            if exit_code is None:
                assert may_kill, f"{run} did not end"
                chosen_signal, victim = rng.choice(SIGNALS), rng.choice(VICTIMS)
                storm.kills.append(_kill(attempt, chosen_signal, victim, run, start_time))
            else:
                assert exit_code == 0, (folder / f"{run.name}.log").read_text()[-4000:]
                is_finished = True
        check(run)
        storm.num_runs += 1
        if len(storm.kills) >= num_kills:
            return storm


def _kill(attempt: Attempt, chosen_signal: signal.Signals, victim: str, run: Path, start_time: float) -> Kill:
    """Send a signal, and wait until the chain and all its processes have ended."""
    assert attempt.pid is not None
    stage = _running_stage(run)
    lost_seconds = time.time() - max([start_time, *saving_times(run)])
    members = session_members(attempt.pid)
    launchers = [
        pid for pid, command in members.items() if command.split("\0")[0].endswith(("mpirun", "prterun"))
    ]
    ranks = [pid for pid in members if pid != attempt.pid and pid not in launchers]
    victims = {"rank": ranks, "launcher": launchers}.get(victim, [])
    victim = victim if victims or victim == "group" else "chain"
    target = victims[-1] if victims else attempt.pid
    killed_at = time.monotonic()
    with suppress(ProcessLookupError):
        (os.killpg if victim == "group" else os.kill)(target, chosen_signal)
    while (exit_code := attempt.wait_seconds(0.02)) is None or session_members(attempt.pid):
        has_new_processes = bool(session_members(attempt.pid).keys() - members.keys())
        if victim in ("rank", "launcher") and has_new_processes and time.monotonic() - killed_at > _WAIT:
            # The process had done its work before the signal, and the chain goes on with the next stage.
            victim, target, killed_at = "chain", attempt.pid, time.monotonic()
            with suppress(ProcessLookupError):
                os.kill(target, chosen_signal)
        assert time.monotonic() - killed_at < END_SECONDS, (
            f"{chosen_signal.name} to {victim} in {stage}: exit code {exit_code}, "
            f"{session_members(attempt.pid)} still run"
        )
    return Kill(chosen_signal.name, victim, stage, lost_seconds, time.monotonic() - killed_at)


def session_members(session: int) -> dict[int, str]:
    """Return the live processes of a session, with their command lines."""
    members = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, _, _, session_text = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:4]
            if int(session_text) == session and state != "Z":
                members[int(folder.name)] = (folder / "cmdline").read_text()
    return members


def saving_times(run: Path) -> Iterator[float]:
    """Yield the times of the files that a restart keeps: shards, checkpoints and finished outputs."""
    kept = ("dataset/receipts/*.json", "dataset/*.json", "models/*/checkpoints/*", "models/*/*.json")
    for pattern in (*kept, "models/*/evaluation/*.json"):
        for path in run.glob(pattern):
            with suppress(OSError):
                yield path.stat().st_mtime


def _running_stage(run: Path) -> str:
    """Return the stage whose newest record says that it runs, or `between stages`."""
    for stage in reversed(forked.STAGES):
        paths = sorted((run / "records").glob(f"{stage}-*.json"))
        with suppress(OSError, ValueError, IndexError):
            if json.loads(paths[-1].read_text())["outcome"] == "running":
                return stage
            return "between stages"
    return "before the first stage"
