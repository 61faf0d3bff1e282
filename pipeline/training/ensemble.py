"""The members of an ensemble, trained side by side by groups of ranks.

As many groups as divide both members and ranks: each has as many ranks and as many members to train as every
other. A group takes the next member when it is done with one.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
from torch.distributed import HashStore, Store  # type: ignore[attr-defined]

from pipeline.parallel.ranks import TIMEOUT, Ranks, group_of, shared_store
from pipeline.parallel.stopping import StopRequest
from simsurrogate.errors import UserError

#: Seconds between two looks at what the other groups tell.
_LOOK_EVERY = 1.0
#: Seconds between two signs of life.
_BEAT_EVERY = 2.0
#: Seconds for the group that failed to say why, before the others end too.
_TIME_TO_TELL = 5.0

#: Takes the steps that are done, all of them, and their unit.
Report = Callable[[int, int, str], None]
#: Trains the member of a number with a seed, on ranks; the optimiser steps that are done.
TrainMember = Callable[[int, int, Ranks, Report], int]


class _OtherFailedError(ValueError):
    """A member that another group trains has failed; the message names it."""


def check_ranks(count: int, batch_size: int, size: int) -> None:
    """Raises UserError where `count` members cannot be trained on `size` ranks; with the ranks that can."""

    def share(size: int) -> int:
        return size // math.gcd(count, size)

    if batch_size % share(size):
        legal = [str(other) for other in range(1, 2 * size + 1) if batch_size % share(other) == 0]
        raise UserError(
            f"ensemble={count} on {size} ranks: {math.gcd(count, size)} at a time, each on {share(size)} "
            f"ranks, which cannot share training.batch_size={batch_size}; start {', '.join(legal)} ranks"
        )


def seed_of(root: int, number: int) -> int:
    """The seed of a member's first weights and batches."""
    return int(np.random.SeedSequence([root, number]).generate_state(1, np.uint64)[0])


def train_all(
    train: TrainMember,
    count: int,
    *,
    steps: int,
    done: int,
    seed: int,
    ranks: Ranks,
    report: Report,
    request: StopRequest,
) -> None:
    """Trains `count` members of `steps` steps each, those that `train` finds done at no cost.

    `seed` is the root of theirs; `done` are the steps that all together have done before. A `request` to any
    rank stops all groups, each with a checkpoint. All ranks return together.

    A member's step may take any time; within a group its ranks wait for each other no longer than `TIMEOUT`.

    Raises:
        UserError: what `train` raises, with the member's number, on every rank; or the other groups have
            given no sign of life for as long as a rank waits for another.
    """
    group = group_of(ranks, math.gcd(count, ranks.size))
    store = HashStore() if ranks.size == 1 else shared_store(ranks)
    board = _Board(store, report if ranks.is_first else _nothing, done, count * steps, request)
    with board.alive() if group.is_first else nullcontext():
        while not group.any_async(request.received)():
            number = group.broadcast(board.next_member() if group.is_first else None)
            if number >= count:
                break
            try:
                reached = train(
                    number, seed_of(seed, number), group, board.note if group.is_first else _nothing
                )
            except _OtherFailedError:
                raise
            except Exception as error:
                board.fail(f"member {number}: {error}")
                if isinstance(error, ValueError):
                    raise UserError(f"member {number}: {error}") from error
                raise
            if group.is_first:
                board.note(reached, reached, "steps")
            if reached < steps:
                board.stop()
                break
    board.wait_for_others(ranks.size // group.size, group.is_first)
    # The store is rank 0's: it stays until every rank has seen the end.
    ranks.gather(0.0)


class _Board:
    """What the groups tell each other, in a store that all of them reach: the next member to train, the steps
    that were done, that they live, and that all are to end.
    """

    def __init__(self, store: Store, report: Report, before: int, total: int, request: StopRequest):
        self.store, self.report, self.before, self.total = store, report, before, total
        self.request = request
        self.noted: int | None = None
        self.looked = -math.inf

    def next_member(self) -> int:
        """The number of a member that nobody has taken, `count` and more where there is none left."""
        self.noted = None
        return int(self.store.add("members", 1)) - 1

    def note(self, done: int, total: int, unit: str) -> None:
        """Takes what the training of a member reports; now and then it looks at what others tell."""
        if self.noted is None:
            self.noted = done
        if done == total or time.monotonic() - self.looked > _LOOK_EVERY:
            self.looked = time.monotonic()
            self.look(done - self.noted)
            self.noted = done

    def look(self, new_steps: int) -> None:
        """Adds to the steps of all groups, and reports them; passes on that others stop or have failed."""
        self.report(self.before + int(self.store.add("steps", new_steps)), self.total, "steps")
        if self.store.check(["failure"]):
            time.sleep(_TIME_TO_TELL)
            raise _OtherFailedError(self.store.get("failure").decode())
        if self.store.check(["stop"]):
            self.request.received = True

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Gives signs of life from a thread beside the work, which says nothing itself while a step or a
        validation takes long.
        """
        over = threading.Event()

        def beat() -> None:
            while not over.wait(_BEAT_EVERY):
                self.store.add("beats", 1)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def stop(self) -> None:
        """Asks all groups to stop."""
        self.store.set("stop", "")

    def fail(self, reason: str) -> None:
        """Ends all groups, with the reason."""
        self.store.set("failure", reason)

    def wait_for_others(self, num_groups: int, arrives: bool) -> None:
        """Waits until every group has no more to do; `arrives` says that this rank speaks for its own."""
        self.store.add("arrived", int(arrives))
        last, since = -1, time.monotonic()
        while int(self.store.add("arrived", 0)) < num_groups:
            if self.request.received:
                self.stop()
            self.look(0)
            beats = int(self.store.add("beats", 0))
            if beats > last:
                last, since = beats, time.monotonic()
            elif time.monotonic() - since > TIMEOUT.total_seconds():
                raise UserError(
                    f"the ranks that train other members have given no sign of life for "
                    f"{TIMEOUT}: one hangs; run the same command again, it goes on from the last "
                    "checkpoints"
                )
            time.sleep(_LOOK_EVERY / 4)
        self.look(0)


def _nothing(done: int, total: int, unit: str) -> None:
    """The report of a rank that is not the one to tell."""
