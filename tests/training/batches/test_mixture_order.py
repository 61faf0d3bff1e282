"""The composition of the batches of a mixture."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from pipeline.data.mixture import Mixture
from pipeline.training.batches.mixture_order import MixtureOrder, stalled_steps

WINDOWS = (50, 7, 13)
STEPS, BATCH = 40, 12
FIRST, LAST = (0.7, 0.1, 0.2), (0.1, 0.6, 0.3)


def order_of(schedule: str, rank: int = 0, size: int = 1, **changes: Any) -> MixtureOrder:
    mixture = SimpleNamespace(
        schedule=schedule, weights=FIRST, final_weights=FIRST if schedule == "constant" else LAST
    )
    options = {"steps": STEPS, "batch_size": BATCH, "seed": 3, "rank": rank, "size": size} | changes
    return MixtureOrder(cast(Mixture, mixture), WINDOWS, **options)


def sources_of(windows: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.cumsum(WINDOWS), windows, side="right")


@pytest.mark.parametrize("schedule", ["constant", "annealed"])
def test_each_source_gets_its_share_and_its_own_epochs(schedule: str) -> None:
    order = order_of(schedule)
    batches = [order.global_batch(step) for step in range(STEPS)]
    starts = np.cumsum([0, *WINDOWS])
    quota = np.zeros(3)
    for step, batch in enumerate(batches):
        progress = step / (STEPS - 1) if schedule == "annealed" else 0.0
        quota += BATCH * ((1 - progress) * np.array(FIRST) + progress * np.array(LAST))
        drawn = sources_of(np.concatenate(batches[: step + 1]))
        assert (np.abs(np.bincount(drawn, minlength=3) - quota) < 1.5).all(), step
        assert len(batch) == BATCH
    visited = np.concatenate(batches)
    for source, count in enumerate(WINDOWS):
        own = visited[sources_of(visited) == source] - starts[source]
        whole = len(own) // count * count
        assert whole
        for epoch in own[:whole].reshape(-1, count):
            assert sorted(epoch) == list(range(count))


@pytest.mark.parametrize("size", [2, 3, 6])
def test_any_number_of_ranks_sees_the_same_batches(size: int) -> None:
    for step in (0, 5, 17):
        shares = [order_of("annealed", rank, size).rank_windows(step) for rank in range(size)]
        assert (np.concatenate(shares) == order_of("annealed").global_batch(step)).all()
    micro_batches = order_of("annealed", 1, 2, num_micro_batches=3).micro_batches(17)
    assert (
        np.concatenate([windows for _, windows in micro_batches])
        == order_of("annealed", 1, 2).rank_windows(17)
    ).all()


def test_the_step_alone_determines_the_batch() -> None:
    order = order_of("annealed")
    expected = [order.global_batch(step) for step in range(STEPS)]
    for step in (29, 30, 3, 39, 38):
        assert (order.global_batch(step) == expected[step]).all()
        assert (order_of("annealed").global_batch(step) == expected[step]).all()


def test_the_adaptive_shares_halve_their_distance_at_each_stalled_validation() -> None:
    errors = {10: 0.9, 20: 0.5, 30: 0.5, 40: float("nan"), 50: 0.4, 60: 0.6}
    rows = [[float(step), 1e-3, 1.0, error, 0.0] for step, error in errors.items()]
    assert stalled_steps(rows) == [30, 40, 60]
    order = order_of("adaptive", steps=100)
    order.validations = rows
    for step, count in ((0, 0), (29, 0), (30, 1), (39, 1), (40, 2), (59, 2), (60, 3), (99, 3)):
        share = 0.5**count
        assert order.weights(step) == pytest.approx(share * np.array(FIRST) + (1 - share) * np.array(LAST)), (
            step
        )
    # The rows come one by one in a training, and all at once after a resume.
    growing: list[list[float]] = []
    trained = order_of("adaptive", steps=100)
    trained.validations = growing
    for step in range(70):
        growing.extend(row for row in rows if row[0] == step)
        assert (trained.global_batch(step) == order.global_batch(step)).all()
