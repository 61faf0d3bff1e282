"""The checks of a data set's integrity, one small function each.

A check receives a shard and returns an error message (the found and the expected value), or None if the
shard passes. The checks of a shard run in the order of `SHARD_CHECKS` up to the first failure. A later check
relies on the earlier checks: before any value is read, the bytes agree with the receipt and no dataset lies
outside the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from pipeline.data.format import hdf5
from pipeline.data.format.layout import group_attributes, items
from pipeline.data.manifest import (
    Manifest,
    ManifestShard,
    Receipt,
    completed_manifest,
    read_document,
    receipt_path,
    receipts_of,
)
from pipeline.data.plan import Shard
from pipeline.data.statistics import combined_statistics, to_yaml, training_statistics
from simsurrogate.files import differences, digest, sha256_of

_CHUNK = 2**22


@dataclass(frozen=True)
class ShardUnderTest:
    """One shard of the data set in `folder`, with its entry in the manifest.

    `entry` is None if the manifest does not list the shard, because each of its trajectories failed.
    """

    folder: Path
    manifest: Manifest
    shard: Shard
    entry: ManifestShard | None

    @property
    def path(self) -> Path:
        """The shard's file."""
        return self.folder / self.shard.file

    @cached_property
    def receipt(self) -> Receipt:
        """The shard's receipt."""
        return read_document(receipt_path(self.folder, self.shard), Receipt)

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """The shard's datasets by path, as memory maps."""
        return hdf5.memory_maps(self.path, hdf5.dataset_locations(self.path))


def receipt(tested: ShardUnderTest) -> str | None:
    """Check that the receipt belongs to this configuration and agrees with the manifest."""
    receipt, entry = tested.receipt, tested.entry
    if receipt.configuration_hash != tested.manifest.configuration_hash:
        return "the shard's receipt belongs to another configuration"
    recorded = (receipt.trajectories, receipt.size, receipt.sha256)
    listed = (entry.trajectories, entry.size, entry.sha256) if entry else (0, 0, "")
    if listed != recorded:
        return f"the manifest lists {listed} as trajectories, size and checksum, the receipt {recorded}"
    return None


def size(tested: ShardUnderTest) -> str | None:
    """Check that the file has the size in the manifest; a shard without trajectories has no file."""
    expected_size = tested.entry.size if tested.entry else 0
    file_size = tested.path.stat().st_size if tested.path.is_file() else 0
    return None if file_size == expected_size else f"{file_size} bytes found, {expected_size} expected"


def checksum(tested: ShardUnderTest) -> str | None:
    """Check that the bytes have the checksum in the receipt."""
    expected, actual = tested.receipt.sha256, sha256_of(tested.path)
    return None if actual == expected else f"SHA-256 {actual} found, {expected} expected"


def no_external_links(tested: ShardUnderTest) -> str | None:
    """Check that no link or dataset of the file leads outside of the file."""
    hdf5.dataset_locations(tested.path)
    return None


def attributes(tested: ShardUnderTest) -> str | None:
    """Check that the attributes of the file and its groups agree with the layout, `complete` included."""
    expected_attributes = group_attributes(tested.manifest.header, tested.receipt.trajectories)
    expected_attributes["/"] |= {"complete": True}
    for group, expected in expected_attributes.items():
        stored = hdf5.attributes(tested.path, group)
        for name, value in expected.items():
            if name not in stored or not np.array_equal(stored[name], value):
                stored_value = np.asarray(stored.get(name)).tolist()
                return f"{group} {name}: {stored_value!r} found, {np.asarray(value).tolist()!r} expected"
    return None


def layout(tested: ShardUnderTest) -> str | None:
    """Check the shape and type of every dataset, and the values of coordinates and boundary conditions."""
    for path, item in items(tested.manifest.header, tested.receipt.trajectories).items():
        if path not in tested.arrays:
            return f"{path} is missing"
        array = tested.arrays[path]
        if (array.shape, array.dtype) != (item.shape, item.dtype):
            return f"{path}: {array.dtype}{array.shape} found, {item.dtype}{item.shape} expected"
        if item.values is not None and not np.array_equal(array, item.values):
            return f"{path}: {array[:4]}... found, {item.values[:4]}... expected"
    return None


def units_and_names(tested: ShardUnderTest) -> str | None:
    """Check that every dataset has the unit and the description in the manifest's spec."""
    for path, item in items(tested.manifest.header, tested.receipt.trajectories).items():
        stored = hdf5.attributes(tested.path, path)
        for name, value in item.attributes.items():
            if name not in stored or not np.array_equal(stored[name], value):
                return f"{path} {name}: {stored.get(name)!r} found, {value!r} expected"
    return None


def indices(tested: ShardUnderTest) -> str | None:
    """Check that each planned trajectory of the shard is in exactly one row or in the list of failures.

    Every shard has its own range of indices, so no trajectory can be in two splits.
    """
    receipt, shard = tested.receipt, tested.shard
    if (receipt.first, receipt.drawn) != (shard.first, shard.count):
        recorded = range(receipt.first, receipt.first + receipt.drawn)
        return f"the receipt covers the trajectories {recorded}, {shard.indices} expected"
    stored, expected = tested.arrays["sample"], receipt.indices
    if len(expected) != len(stored):
        failed = [failure.index for failure in receipt.failed]
        return f"the receipt lists the failed trajectories {failed}; each has to belong to this shard, once"
    wrong_rows = np.flatnonzero(stored != expected)
    if wrong_rows.size:
        row = int(wrong_rows[0])
        return f"row {row} is trajectory {stored[row]}, {expected[row]} expected"
    return None


def finite(tested: ShardUnderTest) -> str | None:
    """Check that no value is NaN or infinite."""
    for path, item in items(tested.manifest.header, tested.receipt.trajectories).items():
        if item.varies and item.dtype.kind == "f":
            flat = tested.arrays[path].reshape(-1)
            for start in range(0, flat.size, _CHUNK):
                positions = np.flatnonzero(~np.isfinite(flat[start : start + _CHUNK]))
                if positions.size:
                    position = start + int(positions[0])
                    index = [int(coordinate) for coordinate in np.unravel_index(position, item.shape)]
                    return f"{path}{index} is {flat[position]}"
    return None


def parameter_range(tested: ShardUnderTest) -> str | None:
    """Check that the scalar parameters lie in their ranges, or outside of them in the extrapolation split."""
    for parameter in tested.manifest.spec.parameters:
        low, high = parameter.low, parameter.high
        values = tested.arrays[f"scalars/{parameter.name}"]
        is_inside = (values >= low) & (values <= high)
        wrong_values = values[is_inside] if tested.shard.outside else values[~is_inside]
        if wrong_values.size:
            relation = "outside of" if tested.shard.outside else "in"
            return (
                f"{parameter.name}={wrong_values[0]:g} found, a value {relation} [{low:g}, {high:g}] expected"
            )
    return None


#: The checks of every shard, in this order.
SHARD_CHECKS = (
    receipt,
    size,
    checksum,
    no_external_links,
    attributes,
    layout,
    units_and_names,
    indices,
    finite,
    parameter_range,
)


def check_shard(tested: ShardUnderTest) -> Iterator[tuple[str, str | None]]:
    """Yield the name of each check of one shard with its result: an error message, or None."""
    for check in SHARD_CHECKS:
        if tested.entry is None and check is checksum:
            return
        try:
            message = check(tested)
        except (ValueError, OSError) as error:
            message = str(error)
        yield check.__name__, message
        if message:
            return


def check_data_set(folder: Path, manifest: Manifest) -> Iterator[tuple[str, str | None]]:
    """Yield the name of each check of the whole data set with its result: an error message, or None."""
    yield "manifest", _manifest(folder, manifest)
    yield "foreign_files", _foreign_files(folder, manifest)
    yield "statistics", _statistics(folder, manifest)


def _manifest(folder: Path, manifest: Manifest) -> str | None:
    """Check that the configuration has the recorded hash, and that the manifest agrees with the receipts."""
    actual_hash, expected_hash = digest(manifest.configuration), manifest.configuration_hash
    if actual_hash != expected_hash:
        return f"its configuration was changed: hash {actual_hash} found, {expected_hash} expected"
    try:
        expected = completed_manifest(manifest, receipts_of(folder, manifest), manifest.statistics_sha256)
    except ValueError as error:
        return f"manifest and receipts cannot be compared: {error}"
    changed = differences(manifest.model_dump(mode="json"), expected.model_dump(mode="json"))
    return f"manifest and receipts differ (found -> expected): {changed[0]}" if changed else None


def _foreign_files(folder: Path, manifest: Manifest) -> str | None:
    """Check that the folder of each split holds only shards, because other readers open every file there."""
    shard_paths = {folder / shard.file for shard in manifest.planned_shards}
    for path in sorted((folder / "data").rglob("*")):
        if not path.is_dir() and path not in shard_paths:
            return (
                f"{path} is not a shard of this data set. The folder of a split may hold only shards. "
                "Remove the file"
            )
    return None


def _statistics(folder: Path, manifest: Manifest) -> str | None:
    """Check that `stats.yaml` agrees with the sum of the receipts of the training split."""
    try:
        running = combined_statistics(receipts_of(folder, manifest))
        expected = to_yaml(training_statistics(manifest.header, running))
        stored = (folder / "stats.yaml").read_text(encoding="utf-8")
    except (ValueError, KeyError, OSError) as error:
        return f"the statistics cannot be compared: {error}"
    return None if stored == expected else "stats.yaml differs from the sum of the receipts' statistics"
