"""The writer of one shard: an HDF5 file of contiguous datasets in The Well's layout.

HDF5 creates the file without values. The values are then written at their offsets in the file: each write is
one system call, and a full disk raises an ordinary error.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import mul
from pathlib import Path

import numpy as np

from pipeline.data.format import hdf5
from pipeline.data.format.hdf5 import DatasetLocation
from pipeline.data.format.layout import (
    Attributes,
    DatasetLayout,
    FieldKind,
    Header,
    dataset_layouts,
    field_path,
    group_attributes,
)
from simsurrogate.files import create_partial, publish
from simsurrogate.storage import storage_error

_COPY_BYTES = 2**24
#: An upper bound of the bytes of a dataset's header without the texts of its attributes.
_HEADER_BYTES = 2560
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


class ShardWriter:
    """The writer of one shard: each trajectory is a row of the datasets in a file with a partial name.

    A row may be written again; `publish(rows)` keeps only the first `rows` rows.
    """

    def __init__(self, path: Path, header: Header, rows: int):
        self._path, self._header, self._rows = path, header, rows
        self._layouts = dataset_layouts(header, rows, path.name)
        self._descriptor, self._partial_path, self._locations = _create_file(
            path, header, rows, self._layouts
        )

    def write_states(self, window: tuple[slice, ...], states: np.ndarray) -> None:
        """Write the states (C, *window) of a window (rows, frames, *block), in the header's precision."""
        self._write_fields("fields", window, states)

    def write_coefficients(self, window: tuple[slice, ...], coefficients: np.ndarray) -> None:
        """Write the coefficient fields (K, *window) of a window (rows, *block), in the header's precision."""
        self._write_fields("coefficient_fields", window, coefficients)

    def write_scalars(
        self,
        first_row: int,
        trajectories: Sequence[int],
        parameters: Sequence[Mapping[str, float | np.ndarray]],
        scalars: Mapping[str, np.ndarray],
    ) -> None:
        """Write index, parameters and further scalars of trajectories to the rows from `first_row` on.

        `scalars` maps the name of each invariant to values (rows, T), and of each other column to values
        (rows,).
        """
        values: dict[str, Sequence[float | np.ndarray] | np.ndarray] = {"sample": trajectories}
        values |= {
            f"scalars/{name}": [trajectory[name] for trajectory in parameters]
            for name in self._header.spec.parameter_names
        }
        values |= {
            f"parameters/{name}": [trajectory[name] for trajectory in parameters]
            for name in self._header.parameter_shapes
        }
        values |= {f"scalars/{name}": columns for name, columns in scalars.items()}
        for path, value in values.items():
            layout = self._layouts[path]
            array = np.asarray(value, layout.dtype).reshape(len(trajectories), *layout.shape[1:])
            _write_at(self._descriptor, self._locations[path].offset + first_row * layout.row_bytes, array)

    def publish(self, rows: int) -> None:
        """Mark the shard as complete and give it its final name; keep only the first `rows` rows.

        A contiguous dataset cannot shrink, so a shard with fewer rows than planned is copied.
        """
        if rows < self._rows:
            self._copy_first_rows(rows)
        os.fsync(self._descriptor)
        hdf5.set_attribute(self._partial_path, "complete", True)
        os.fsync(self._descriptor)
        os.close(self._descriptor)
        publish(self._partial_path, self._path)

    def discard(self) -> None:
        """Close and remove the partial file."""
        os.close(self._descriptor)
        self._partial_path.unlink(missing_ok=True)

    def _write_fields(self, kind: FieldKind, window: tuple[slice, ...], values: np.ndarray) -> None:
        channel, components = 0, len(self._header.spec.sites.directions)
        for field in self._header.fields(kind):
            location = self._locations[field_path(field)]
            if field.tensor_order:
                vectors = np.moveaxis(values[channel : channel + components], 0, -1)
                _write_window(self._descriptor, location, (*window, slice(0, components)), vectors)
                channel += components
            else:
                _write_window(self._descriptor, location, window, values[channel])
                channel += 1

    def _copy_first_rows(self, rows: int) -> None:
        """Copy the first `rows` rows to a new file, and replace the partial file with it."""
        new_layouts = dataset_layouts(self._header, rows)
        descriptor, new_path, locations = _create_file(self._path, self._header, rows, new_layouts)
        for path, layout in new_layouts.items():
            if layout.is_varying:
                source, target = self._locations[path].offset, locations[path].offset
                _copy_bytes(self._descriptor, source, descriptor, target, layout.row_bytes * rows)
        os.close(self._descriptor)
        new_path.replace(self._partial_path)
        self._descriptor, self._locations, self._rows = descriptor, locations, rows


@contextmanager
def open_writer(path: Path, header: Header, rows: int) -> Iterator[ShardWriter]:
    """Yield a writer whose partial file is removed after any error.

    Raises:
        StorageError: the file cannot be written; the message states the needed and the free bytes.
    """
    try:
        writer = ShardWriter(path, header, rows)
        try:
            yield writer
        except BaseException:
            writer.discard()
            raise
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        num_bytes = _size_of(group_attributes(header, rows), dataset_layouts(header, rows, path.name))
        advice = "run the same command again: finished shards are kept"
        raise storage_error(path, num_bytes, error, advice) from error


def _create_file(
    path: Path, header: Header, rows: int, layouts: dict[str, DatasetLayout]
) -> tuple[int, Path, dict[str, DatasetLocation]]:
    """Write the temporary file of `path` without the rows' values.

    Return an open descriptor, the path of the temporary file, and the locations of the datasets.
    HDF5 cannot recover from a full disk, so the space is allocated before HDF5 writes.
    """
    descriptor, partial_path = create_partial(path)
    try:
        groups = group_attributes(header, rows)
        os.posix_fallocate(descriptor, 0, _size_of(groups, layouts))
        hdf5.make_skeleton(partial_path, groups, layouts)
        os.posix_fallocate(descriptor, 0, os.fstat(descriptor).st_size)
        return descriptor, partial_path, hdf5.dataset_locations(partial_path, layouts)
    except BaseException:
        os.close(descriptor)
        partial_path.unlink(missing_ok=True)
        raise


def _size_of(groups: Mapping[str, Attributes], layouts: dict[str, DatasetLayout]) -> int:
    """Return an upper bound of the bytes of a file with this content, close to the bytes themselves."""
    values = sum(layout.num_bytes for layout in layouts.values() if not layout.link)
    attributes = [*groups.values(), *(layout.attributes for layout in layouts.values())]
    texts = sum(len(str(value)) for group in attributes for value in group.values())
    return values + _HEADER_BYTES * (len(layouts) + 2) + 2 * texts


def _write_window(
    descriptor: int, location: DatasetLocation, window: tuple[slice, ...], values: np.ndarray
) -> None:
    """Write `values` to a window of a dataset, in one write for each contiguous part."""
    num_partial_axes = len(window)
    while num_partial_axes > 0 and values.shape[num_partial_axes - 1] == location.shape[num_partial_axes - 1]:
        num_partial_axes -= 1
    num_outer_axes = max(num_partial_axes - 1, 0)
    start = location.offset + sum(map(mul, (axis.start for axis in window), location.strides))
    for index in np.ndindex(values.shape[:num_outer_axes]):
        _write_at(descriptor, start + sum(map(mul, index, location.strides)), values[index])


def _write_at(descriptor: int, offset: int, values: np.ndarray) -> None:
    """Write all bytes of an array at an offset. One system call may write only a part of the bytes."""
    remaining_bytes = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
    while len(remaining_bytes) > 0:
        num_written = os.pwrite(descriptor, remaining_bytes, offset)
        remaining_bytes, offset = remaining_bytes[num_written:], offset + num_written


def _copy_bytes(
    source_descriptor: int, source_offset: int, target_descriptor: int, target_offset: int, num_bytes: int
) -> None:
    for start in range(0, num_bytes, _COPY_BYTES):
        chunk = os.pread(source_descriptor, min(_COPY_BYTES, num_bytes - start), source_offset + start)
        _write_at(target_descriptor, target_offset + start, np.frombuffer(chunk, np.uint8))
