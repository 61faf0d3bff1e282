"""The names of trajectories and splits in the messages of checks."""

from __future__ import annotations

from pipeline.data.plan import INDICES_PER_SPLIT, SPLITS, Split


def split_of(index: int) -> Split:
    """Return the split of the trajectory with an index."""
    return SPLITS[int(index) // INDICES_PER_SPLIT]


def name_of(index: int) -> str:
    """Return `trajectory 3 of test` for the trajectory with an index."""
    return f"trajectory {int(index) % INDICES_PER_SPLIT} of {split_of(index)}"
