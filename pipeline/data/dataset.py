"""The reader of validated data sets, for training and evaluation."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.accuracy import SelfStatedError
from pipeline.data.format.layout import PREDICTABLE_TIME
from pipeline.data.format.structure import Structures
from pipeline.data.manifest import Manifest, read_complete_manifest
from pipeline.data.plan import SPLITS
from pipeline.data.recorded_configuration import of_shards
from pipeline.data.statistics import TrainingStatistics, read_statistics
from pipeline.data.validation import Validation, accepted_validation
from pipeline.data.windows import Shards, StoredTrajectory, Windows
from simsurrogate.errors import UserError
from simsurrogate.files import digest, file_identity, sha256_of


class Dataset:
    """A read-only data set, opened by `Dataset.open`.

    Attributes:
        folder: the folder of the data set.
        spec: the equation, sites, fields and parameters.
        configuration: the configuration of its generation.
        identity: a hash of the configuration and of every shard's checksum.
        times: the time of each frame (T,), s.
        statistics: the content of `stats.yaml`.
        core_seconds: the time of the generation, summed over the ranks, s.
        validation: the validation that the data set passed.
        family: the data set with the origins of its trajectories, and its ancestors.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        statistics: TrainingStatistics,
        unchanged: Collection[str],
        validation: Validation,
    ):
        header = manifest.header
        structures = Structures(header)
        self.folder = folder
        self.spec = manifest.spec
        self.configuration = manifest.configuration
        self.identity = manifest.identity
        self.times = header.times
        self.statistics = statistics
        self.validation = validation
        self.family = manifest.family
        self.family.check(str(folder / "manifest.json"))
        self.core_seconds = sum(shard.core_seconds for shard in manifest.shards)
        self._splits = {}
        for split in SPLITS:
            entries = [shard for shard in manifest.shards if shard.file.startswith(f"data/{split}/")]
            files = [folder / entry.file for entry in entries]
            trajectories = [entry.trajectories for entry in entries]
            checksums = [None if entry.file in unchanged else entry.sha256 for entry in entries]
            self._splits[split] = Shards(structures, files, trajectories, checksums)

    @classmethod
    def open(
        cls, folder: Path, other_validation: Path | None = None, *, allow_failed: bool = False
    ) -> Dataset:
        """Open a data set that is complete and passed its validation.

        `other_validation` is the path of a validation outside the folder, by a reader who may not write it.
        With `allow_failed`, a data set that failed a check of its content is opened, too.

        A shard whose file is not the file that passed, such as a copy, is compared with its checksum when it
        is first read.

        Raises:
            UserError: the data set is missing, incomplete, of another schema version, not validated, failed,
                or changed after its validation.
        """
        folder = Path(folder)
        manifest = read_complete_manifest(folder)
        validation = accepted_validation(folder, manifest, other_validation, allow_failed=allow_failed)
        _refuse_changed_statistics(folder, manifest)
        unchanged = set()
        for shard in manifest.shards:
            path = folder / shard.file
            file_size = path.stat().st_size if path.is_file() else None
            if file_size != shard.size:
                raise UserError(
                    f"{path}: {'no file' if file_size is None else f'{file_size} bytes'} found, "
                    f"{shard.size} bytes expected. Run python -m pipeline.generate again, then "
                    "python -m pipeline.validate"
                )
            if file_identity(path) == validation.files.get(shard.file):
                unchanged.add(shard.file)
        statistics = read_statistics(folder / "stats.yaml", manifest.header)
        return cls(folder, manifest, statistics, unchanged, validation)

    def __repr__(self) -> str:
        split_sizes = [f"{len(shards)} {split}" for split, shards in self._splits.items() if len(shards)]
        sites = " x ".join(map(str, self.spec.shape)) + (
            " particles" if self.spec.has_particles else " cells"
        )
        return (
            f"Dataset of {self.spec.name} in {self.folder}: {', '.join(split_sizes)} trajectories, "
            f"{len(self.times)} frames from 0 to {self.times[-1]:g} s, {sites}, "
            f"channels {', '.join(self.spec.channels)}"
        )

    def num_trajectories(self, split: str) -> int:
        """Return the number of trajectories of a split; 0 for a split that was not generated.

        Raises:
            UserError: there is no split of this name.
        """
        return len(self._shards(split))

    @property
    def size(self) -> dict[str, Any]:
        """The number of trajectories of each split, and a hash of the configuration of the shards.

        A data set grows if the numbers of trajectories rise under the same hash.
        """
        return {
            "shards": digest(of_shards(self.configuration)),
            "trajectories": {split: self.num_trajectories(split) for split in SPLITS},
        }

    def parameter_values(self, split: str) -> np.ndarray:
        """Return the scalar parameters of all trajectories of a split, (N, P)."""
        values: np.ndarray = self.columns(split, ["parameters"])["parameters"]
        return values

    def trajectory(self, split: str, position: int) -> StoredTrajectory:
        """Return the trajectory at a position in a split, counted from 0, as a copy in memory.

        Raises:
            UserError: the split has no such trajectory.
        """
        shards = self._shards(split)
        if not 0 <= position < len(shards):
            raise UserError(
                f"trajectory {position} of split {split} does not exist. The split has {len(shards)} "
                "trajectories, counted from 0"
            )
        (shard,), (row,) = shards.locate(np.array([position]))
        arrays = shards.arrays(int(shard))
        precision, sites = shards.header.precision, self.spec.shape
        state = np.empty((len(self.times), len(self.spec.channels), *sites), precision)
        coefficients = np.empty((len(self.spec.coefficient_channels), *sites), precision)
        shards.fill("fields", arrays, (row,), state, axis=1)
        shards.fill("coefficient_fields", arrays, (row,), coefficients, axis=0)
        return StoredTrajectory(
            state=state,
            coefficient_fields=coefficients,
            parameters=dict(zip(self.spec.parameter_names, arrays["parameters"][row].tolist(), strict=True)),
            arrays={
                name: arrays[f"parameters/{name}"][row].copy() for name in shards.header.parameter_shapes
            },
            time=self.times.copy(),
            index=int(arrays["sample"][row]),
            predictable_time=float(arrays[f"scalars/{PREDICTABLE_TIME.name}"][row])
            if self.spec.chaotic
            else None,
        )

    @property
    def failed_checks(self) -> tuple[str, ...]:
        """The names of the checks that the data set failed; empty unless opened with `allow_failed`."""
        return self.validation.failed_checks

    @property
    def self_stated_error(self) -> SelfStatedError | None:
        """The discretisation error of the data by the validation; None without a solver."""
        return self.validation.self_stated_error

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits."""
        return tuple(self._splits)

    def columns(self, split: str, paths: Sequence[str]) -> dict[str, np.ndarray]:
        """Return some datasets of all shards of a split as copies in memory, by path, (trajectories, ...)."""
        shards = self._shards(split)
        arrays = [shards.arrays(index) for index in range(shards.num_shards)]
        return {path: np.concatenate([np.array(shard[path]) for shard in arrays]) for path in paths}

    def windows(self, split: str, length: int, *, reuse_buffers: bool = False) -> Windows:
        """Return the windows of a split: all sequences of `length` consecutive frames.

        With `reuse_buffers`, the arrays of `take` are overwritten by the next call.

        Raises:
            UserError: the trajectories have fewer frames.
        """
        return Windows(self._shards(split), length, reuse_buffers=reuse_buffers)

    def _shards(self, split: str) -> Shards:
        if split not in self._splits:
            raise UserError(
                f"split {split!r} does not exist. Splits are {', '.join(SPLITS)}. Name one of these splits"
            )
        return self._splits[split]


def _refuse_changed_statistics(folder: Path, manifest: Manifest) -> None:
    statistics = folder / "stats.yaml"
    if not statistics.is_file() or sha256_of(statistics) != manifest.statistics_sha256:
        raise UserError(
            f"{statistics} is missing or was changed. "
            "Run python -m pipeline.generate, then python -m pipeline.validate"
        )
