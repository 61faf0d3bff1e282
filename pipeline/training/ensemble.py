"""The parallel training of the members of an ensemble by groups of ranks.

The number of groups is the greatest common divisor of members and ranks, so all groups have equally many
ranks. A group takes the next member after its current member.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
from torch.distributed import HashStore, Store  # type: ignore[attr-defined]

from pipeline.parallel.ranks import Ranks, group_of, shared_store
from pipeline.parallel.rendezvous import TIMEOUT
from pipeline.parallel.stopping import StopRequest
from simsurrogate.errors import UserError

#: Seconds between two queries of the progress of the other groups.
_POLL_SECONDS = 1.0
#: Seconds between two heartbeats of a group.
_HEARTBEAT_SECONDS = 2.0
#: Seconds in which a failed group reports its error before the other groups end.
_REPORT_SECONDS = 5.0

#: A receiver of the steps done, the steps in total, and their unit.
ProgressReport = Callable[[int, int, str], None]
#: A function that trains one member, from its number, seed and ranks, and returns the optimiser steps done.
TrainMember = Callable[[int, int, Ranks, ProgressReport], int]


class _OtherMemberFailedError(UserError):
    """The failure of a member that another group trains; the message names the member."""


def check_ranks(count: int, batch_size: int, size: int) -> None:
    """Check that `count` members can be trained on `size` ranks.

    Raises:
        UserError: the ranks of a group cannot share the batch; the message lists the possible ranks.
    """

    def group_size(size: int) -> int:
        return size // math.gcd(count, size)

    if batch_size % group_size(size):
        legal_sizes = [
            str(other_size)
            for other_size in range(1, min(2 * size, 1000) + 1)
            if batch_size % group_size(other_size) == 0
        ]
        raise UserError(
            f"ensemble={count} on {size} ranks trains {math.gcd(count, size)} members at a time, each on "
            f"{group_size(size)} ranks, which cannot share training.batch_size={batch_size}. The batch must "
            f"be a multiple of the ranks of a member. Start with one of {', '.join(legal_sizes)} ranks"
        )


def seed_of(root_seed: int, member: int) -> int:
    """Return the seed of a member's initial weights and batches."""
    return int(np.random.SeedSequence([root_seed, member]).generate_state(1, np.uint64)[0])


def train_all(
    train: TrainMember,
    count: int,
    *,
    steps: int,
    done: int,
    seed: int,
    ranks: Ranks,
    report: ProgressReport,
    request: StopRequest,
) -> None:
    """Train all members of an ensemble; all ranks return together.

    A `request` to any rank stops all groups, each with a checkpoint. A member's step may take any time;
    within a group the ranks wait for each other no longer than `TIMEOUT`.

    Args:
        train: function that trains one member and returns at once for a complete member.
        count: number of members.
        steps: steps of each member.
        done: steps of all members together that were done before.
        seed: root of the members' seeds.
        ranks: all ranks.
        report: receiver of the progress of all members together.
        request: stop request of this rank.

    Raises:
        UserError: a member fails, on every rank and with the member's number; or the other groups have sent
            no heartbeat within `TIMEOUT`.
    """
    group = group_of(ranks, math.gcd(count, ranks.size))
    store = HashStore() if ranks.size == 1 else shared_store(ranks)
    progress = _SharedProgress(
        store, report if ranks.is_first else _ignore_progress, done, count * steps, request
    )
    with progress.heartbeat() if group.is_first else nullcontext():
        while not group.any_async(request.is_received)():
            member = group.broadcast(progress.next_member() if group.is_first else 0)
            if member >= count:
                break
            try:
                member_steps = train(
                    member,
                    seed_of(seed, member),
                    group,
                    progress.update if group.is_first else _ignore_progress,
                )
            except _OtherMemberFailedError:
                raise
            except Exception as error:
                progress.fail(f"member {member}: {error}")
                if isinstance(error, UserError):
                    raise UserError(f"member {member}: {error}") from error
                raise
            if group.is_first:
                progress.update(member_steps, member_steps, "steps")
            if member_steps < steps:
                progress.stop()
                break
    progress.wait_for_others(ranks.size // group.size, group.is_first)
    # Rank 0 owns the store, and must not leave before every rank has read the final state.
    ranks.gather(0.0)


class _SharedProgress:
    """The progress of all groups, in a key-value store that all groups reach.

    The store holds the next member to train, the steps done, the heartbeats, and requests to stop.
    """

    def __init__(
        self, store: Store, report: ProgressReport, steps_before: int, total: int, request: StopRequest
    ):
        self.store, self.report, self.steps_before, self.total = store, report, steps_before, total
        self.request = request
        self.reported_steps: int | None = None
        self.last_poll = -math.inf

    def next_member(self) -> int:
        """Take the next member and return its number, which is `count` or more if no member is left."""
        self.reported_steps = None
        return int(self.store.add("members", 1)) - 1

    def update(self, done: int, total: int, unit: str) -> None:
        """Add the steps of this group's member to the steps of all groups, at most once per second."""
        if self.reported_steps is None:
            self.reported_steps = done
        if done == total or time.monotonic() - self.last_poll > _POLL_SECONDS:
            self.last_poll = time.monotonic()
            self.poll(done - self.reported_steps)
            self.reported_steps = done

    def poll(self, new_steps: int) -> None:
        """Add steps, report the sum, and react to a failure or a stop of another group."""
        self.report(self.steps_before + int(self.store.add("steps", new_steps)), self.total, "steps")
        if self.store.check(["failure"]):
            time.sleep(_REPORT_SECONDS)
            raise _OtherMemberFailedError(self.store.get("failure").decode())
        if self.store.check(["stop"]):
            self.request.is_received = True

    @contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Send heartbeats from a thread, also during a long step or a long validation."""
        end_event = threading.Event()

        def send_heartbeats() -> None:
            while not end_event.wait(_HEARTBEAT_SECONDS):
                self.store.add("heartbeats", 1)

        thread = threading.Thread(target=send_heartbeats, daemon=True)
        thread.start()
        try:
            yield
        finally:
            end_event.set()
            thread.join()

    def stop(self) -> None:
        """Stop all groups."""
        self.store.set("stop", "")

    def fail(self, reason: str) -> None:
        """End all groups with an error."""
        self.store.set("failure", reason)

    def wait_for_others(self, num_groups: int, speaks_for_group: bool) -> None:
        """Wait until every group has finished; one rank of each group speaks for the group."""
        self.store.add("finished", int(speaks_for_group))
        last_heartbeats, last_change = -1, time.monotonic()
        while int(self.store.add("finished", 0)) < num_groups:
            if self.request.is_received:
                self.stop()
            self.poll(0)
            heartbeats = int(self.store.add("heartbeats", 0))
            if heartbeats > last_heartbeats:
                last_heartbeats, last_change = heartbeats, time.monotonic()
            elif time.monotonic() - last_change > TIMEOUT.total_seconds():
                raise UserError(
                    f"the ranks that train other members have sent no heartbeat for {TIMEOUT}. A rank "
                    "hangs. Run the same command again: training continues from the last checkpoints"
                )
            time.sleep(_POLL_SECONDS / 4)
        self.poll(0)


def _ignore_progress(done: int, total: int, unit: str) -> None:
    """Ignore the progress, on a rank that does not report."""
