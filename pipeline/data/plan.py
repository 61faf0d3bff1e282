"""The plan of a data set: its trajectories, their shards, and their random numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

Split = Literal["train", "valid", "test", "test_extrapolation", "calibration"]
#: The splits in the order of their indices: a new split is the last one.
SPLITS: tuple[Split, ...] = ("train", "valid", "test", "test_extrapolation", "calibration")
INDICES_PER_SPLIT = 2**40
#: The largest number of shards of a data set.
MAX_SHARDS = 2**20
#: A regular expression of the common name of a shard's file and receipt.
SHARD_NAME = rf"({'|'.join(SPLITS)})-\d{{5,}}"


@dataclass(frozen=True)
class Shard:
    """One file of a split: the trajectories `first` to `first + count - 1`, computed as one task."""

    split: Split
    number: int
    first: int
    count: int

    @property
    def name(self) -> str:
        """The common name of the shard's file and receipt."""
        return f"{self.split}-{self.number:05d}"

    @property
    def file(self) -> str:
        """The path of the shard's file inside the data set."""
        return f"data/{self.split}/{self.name}.hdf5"

    @property
    def is_outside(self) -> bool:
        """Whether the parameters are drawn outside the declared range."""
        return self.split == "test_extrapolation"

    @property
    def indices(self) -> range:
        """The indices of all planned trajectories of the shard."""
        return range(self.first, self.first + self.count)


def index(split: str, position: int) -> int:
    """Return the index of trajectory `position` of a split.

    Each split has its own block of 2^40 indices: no trajectory can be in two splits, and the number of
    training trajectories has no influence on the test trajectories.
    """
    assert 0 <= position < INDICES_PER_SPLIT
    return SPLITS.index(split) * INDICES_PER_SPLIT + position


def recorded_samples(samples: Mapping[str, int]) -> dict[str, int]:
    """Return the numbers of trajectories as a manifest records them: without an empty split `calibration`.

    Data sets of earlier releases lack this split, and keep their identity.
    """
    return {key: count for key, count in samples.items() if count or key != "calibration"}


def num_shards(samples: Mapping[str, int]) -> int:
    """Return the number of shards of a data set; see `shards`."""
    return sum(-(-samples.get(split, 0) // samples["per_shard"]) for split in SPLITS)


def shards(samples: Mapping[str, int]) -> list[Shard]:
    """Return every shard of a data set, in order.

    `samples` holds the number of trajectories of each split, and under `per_shard` the number in each shard.
    A missing split has no trajectories.
    """
    per_shard = samples["per_shard"]
    return [
        Shard(split, number, index(split, position), min(per_shard, count - position))
        for split in SPLITS
        if (count := samples.get(split, 0))
        for number, position in enumerate(range(0, count, per_shard))
    ]


def generator(seed: int, trajectory: int) -> np.random.Generator:
    """Return the random generator of one trajectory, determined by the root seed and its index alone.

    The generator is counter-based (Philox 4x64; Salmon et al. 2011, Parallel random numbers: as easy
    as 1, 2, 3), so streams of different indices are independent on any rank at any time.
    """
    # Imported here because every stage imports this module, and few stages draw random numbers.
    import numpy as np

    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(trajectory,))))
