"""The copy of foreign trajectories into shards, with their statistics.

Shape letters: T frames, C channels, K coefficient fields.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mpi4py import MPI

from pipeline.adoption.contents import FoundParameter
from pipeline.adoption.reader_process import ReaderProcess, TrajectoryValues
from pipeline.adoption.specification import FieldSource, Specification
from pipeline.data.format.layout import Header
from pipeline.data.format.writer import ShardWriter, open_writer
from pipeline.data.manifest import Receipt
from pipeline.data.plan import Shard, index
from pipeline.data.running_statistics import RunningStatistics
from pipeline.generation.rows import Rows, not_finite_reason
from simsurrogate.errors import UserError
from simsurrogate.files import sha256_of, writable_folder
from solvers.reductions import Reductions

#: The largest change of the mean of a conserved field, relative to the size of the field.
_MAX_DRIFT = 1e-3


@dataclass
class ShardCopier:
    """The copier of trajectories into the shards of one data set.

    Attributes:
        reader: the process that reads the files.
        specification: the fields, their sources and the times.
        header: the header of all shards.
        folder: the folder of the data set.
        configuration_hash: the hash in each receipt.
        splits: the trajectories of each split.
        has_gaps: whether NaN in a field that changes in time is a missing value.
    """

    reader: ReaderProcess
    specification: Specification
    header: Header
    folder: Path
    configuration_hash: str
    splits: dict[str, np.ndarray]
    has_gaps: bool = False
    _parameters: list[FoundParameter] = field(init=False)
    _reductions: Reductions = field(init=False)

    def __post_init__(self) -> None:
        spec, found = self.header.spec, {item.name: item for item in self.reader.contents.parameters}
        self._parameters = [found[name] for name in spec.parameter_names]
        block = tuple(slice(0, size) for size in spec.shape)
        self._reductions = Reductions(spec, block, MPI.COMM_SELF)

    def make(self, shard: Shard) -> Receipt:
        """Copy the trajectories of a shard and publish it; return its receipt.

        A trajectory with values that are not finite is left out, with its reason in the receipt.

        Raises:
            UserError: the files cannot be read, or a conserved field is not conserved.
            StorageError: the shard cannot be written.
        """
        start_seconds, path = time.perf_counter(), self.folder / shard.file
        writable_folder(path.parent)
        rows = Rows()
        with open_writer(path, self.header, shard.count) as writer:
            first = shard.first - index(shard.split, 0)
            for position, trajectory in enumerate(self.splits[shard.split][first : first + shard.count]):
                self._copy(writer, rows, shard.first + position, int(trajectory))
            if rows.failures and path.name in self.header.links:
                trajectory = int(self.splits[shard.split][rows.failures[0].index - index(shard.split, 0)])
                raise UserError(
                    f"trajectory {trajectory} of the source has a reason to leave it out: "
                    f"{rows.failures[0].reason}. No trajectory can be left out of files that are read in "
                    "place. Set in_place: false in the description to copy the others"
                )
            if rows.count:
                writer.publish(rows.count)
            else:
                writer.discard()
        return Receipt(
            configuration_hash=self.configuration_hash,
            split=shard.split,
            number=shard.number,
            size=path.stat().st_size if rows.count else 0,
            sha256=sha256_of(path) if rows.count else "",
            first=shard.first,
            drawn=shard.count,
            failed=rows.failures,
            ranks=1,
            machine="adopted",
            statistics={kind: stats.to_json() for kind, stats in rows.statistics.items()}
            if shard.split == "train"
            else {},
            core_seconds=time.perf_counter() - start_seconds,
        )

    def _copy(self, writer: ShardWriter, rows: Rows, number: int, trajectory: int) -> None:
        """Write a trajectory of the files to the next row."""
        values = self.reader.trajectory(trajectory)
        num_states = len(self.header.spec.fields)
        sources = self.specification.sources
        with np.errstate(over="ignore"):
            states = self._channels(values, sources[:num_states]).astype(self.header.precision)
            coefficients = self._channels(values, sources[num_states:]).astype(self.header.precision)
        parameters = {item.name: item.values[trajectory] for item in self._parameters}
        reason = self._reason_to_leave_out(states, coefficients)
        if reason:
            rows.add_failure(number, reason, parameters, self.header)
            return
        self._check_conserved(states, trajectory)
        row = slice(rows.count, rows.count + 1)
        sites = tuple(slice(0, size) for size in self.header.spec.shape)
        if not self.header.links:
            writer.write_states((row, slice(0, len(self.header.times)), *sites), states[:, None])
            writer.write_coefficients((row, *sites), coefficients[:, None])
        columns = self._reductions.of_states(np.moveaxis(states, 1, 0)[None])
        columns |= self._reductions.durations(columns, self.header.times)
        writer.write_scalars(rows.count, [number], [{**parameters, **values.arrays}], columns)
        numbers = np.array(list(parameters.values())).reshape(-1, 1)
        rows.add(
            1,
            {
                "fields": RunningStatistics.of(states),
                "changes": RunningStatistics.of(np.diff(states.astype(np.float64), axis=1)),
                "coefficient_fields": RunningStatistics.of(coefficients),
                "parameters": RunningStatistics.of(numbers),
            },
        )

    def _channels(self, values: TrajectoryValues, sources: Sequence[FieldSource]) -> np.ndarray:
        """Return the channels of some fields, (C, T, *sites) or (K, *sites), on the even times."""
        channels = []
        for source in sources:
            for name in source.names:
                array = values.fields[name]
                if source.field.tensor_order and len(source.names) == 1:
                    channels += list(np.moveaxis(array, -1, 0))
                else:
                    channels.append(array)
        if not channels:
            return np.empty((0, *self.header.spec.shape))
        stacked = np.stack(channels)
        has_time = stacked.ndim == len(self.header.spec.shape) + 2
        return self._resampled(stacked) if has_time and self.specification.is_resampled else stacked

    def _resampled(self, states: np.ndarray) -> np.ndarray:
        """Return states (C, T, *sites) interpolated linearly at the even times."""
        source = self.specification.source_times - self.specification.source_times[0]
        times = self.specification.times
        after = np.clip(np.searchsorted(source, times), 1, len(source) - 1)
        weight = (times - source[after - 1]) / (source[after] - source[after - 1])
        weight = weight.reshape(-1, *[1] * (states.ndim - 2))
        result: np.ndarray = (1 - weight) * states[:, after - 1] + weight * states[:, after]
        return result

    def _reason_to_leave_out(self, states: np.ndarray, coefficients: np.ndarray) -> str | None:
        is_valid = ~np.isinf(states) if self.has_gaps else np.isfinite(states)
        frames = is_valid.all(axis=tuple(axis for axis in range(states.ndim) if axis != 1))
        if not frames.all():
            time = float(self.header.times[int(np.argmin(frames))])
            return not_finite_reason("a field", self.header, time)
        if not np.isfinite(coefficients).all():
            return not_finite_reason("a coefficient field", self.header, 0.0)
        return None

    def _check_conserved(self, states: np.ndarray, trajectory: int) -> None:
        """Check that the mean of each conserved field over the box keeps its value in time."""
        spec = self.header.spec
        for channel in map(spec.channels.index, spec.conserved_channels):
            values = states[channel].astype(np.float64)
            means = values.reshape(len(values), -1).mean(axis=1)
            drift, size = float(np.ptp(means)), float(np.abs(values).max())
            if drift > _MAX_DRIFT * size:
                raise UserError(
                    f"{spec.channels[channel]} is described as conserved, and its mean changes by "
                    f"{drift:.3g} in trajectory {trajectory}, where its largest value is {size:.3g}. At most "
                    f"{_MAX_DRIFT:g} of the largest value is allowed. Remove conserved: true from the "
                    "description"
                )
