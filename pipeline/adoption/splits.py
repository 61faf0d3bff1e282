"""The division of adopted trajectories into splits: that of the files, or a new one by trajectory."""

from __future__ import annotations

import numpy as np

from pipeline.adoption.contents import Contents
from pipeline.adoption.description import Description
from pipeline.data.plan import SPLITS
from simsurrogate.errors import UserError

#: The shares of a new division.
_SHARES = {"train": 0.8, "valid": 0.1, "test": 0.1}
#: The splits that training and evaluation need.
_NEEDED = ("train", "valid", "test")


def divided(contents: Contents, description: Description, seed: int) -> dict[str, np.ndarray]:
    """Return the trajectories of each split, in increasing order.

    The description wins over the files. A new division draws the trajectories at random by the seed, because
    files are often sorted by a parameter; with `in_place` true, it keeps the order of the files.

    Raises:
        UserError: there are too few trajectories for all splits, or the files lack one of the splits.
    """
    total = contents.num_trajectories
    own_splits = [split for split, count in contents.splits.items() if count]
    missing = [split for split in _NEEDED if split not in own_splits]
    if own_splits and missing and not description.splits:
        raise UserError(
            f"the files have the splits {', '.join(own_splits)}, without {', '.join(missing)}. Training and "
            "evaluation need train, valid and test. Type, for example, splits: {train: 0.8, valid: 0.1, "
            "test: 0.1} in the description to divide all trajectories again, or add the files of "
            f"{missing[0]}"
        )
    if own_splits and not description.splits:
        starts = np.cumsum([0, *contents.splits.values()])
        return {
            split: np.arange(start, start + count)
            for (split, count), start in zip(contents.splits.items(), starts[:-1], strict=True)
        }
    shares: dict[str, float] = {str(split): value for split, value in description.splits.items()}
    counts = _counts(shares or _SHARES, total)
    order = np.arange(total)
    if not description.in_place:
        order = np.random.Generator(np.random.Philox(seed)).permutation(total)
    ends = np.cumsum([counts.get(split, 0) for split in SPLITS])
    return {
        split: np.sort(order[end - counts[split] : end])
        for split, end in zip(SPLITS, ends, strict=True)
        if counts.get(split, 0)
    }


def _counts(splits: dict[str, float], total: int) -> dict[str, int]:
    """Return the number of trajectories of each split, from numbers or shares."""
    values = {split: float(value) for split, value in splits.items()}
    if sum(values.values()) <= 1 + 1e-9:
        counts = {split: max(int(share * total), 1) for split, share in values.items() if share > 0}
        # The trajectories that rounding leaves belong to the training split.
        if sum(values.values()) > 1 - 1e-9 and "train" in counts:
            counts["train"] += total - sum(counts.values())
    else:
        counts = {split: int(value) for split, value in values.items()}
    is_whole = sum(values.values()) <= 1 + 1e-9 or all(value == int(value) for value in values.values())
    if sum(counts.values()) > total or min(counts.get(split, 0) for split in _NEEDED) < 1 or not is_whole:
        raise UserError(
            f"splits={splits} do not divide {total} trajectories. The splits train, valid and test need at "
            "least one trajectory each, as whole numbers or as shares of at most 1 together. Type, for "
            "example, splits: {train: 0.8, valid: 0.1, test: 0.1} in the description, or add trajectories"
        )
    return counts
