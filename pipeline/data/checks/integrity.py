"""The checks of a data set's integrity, one small function each.

A check gets a shard and returns what is wrong with it, found against expected, or None. The checks of
a shard run in the order of `SHARD_CHECKS` up to the first failure, so that a later check can rely on the
earlier ones: before any value is read, the bytes agree with the receipt and no dataset lies outside the file.
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
    completed,
    read_document,
    receipt_path,
    receipts_of,
)
from pipeline.data.plan import Shard
from pipeline.data.statistics import combined, to_yaml, training_statistics
from simsurrogate.files import differences, digest, sha256_of

_CHUNK = 2**22


@dataclass(frozen=True)
class ShardUnderTest:
    """One shard: as planned, as the manifest lists it (None where it does not), and as a file in `folder`."""

    folder: Path
    manifest: Manifest
    shard: Shard
    listed: ManifestShard | None

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
        return hdf5.memory_maps(self.path, hdf5.places(self.path))


def receipt(tested: ShardUnderTest) -> str | None:
    """Check that the receipt belongs to this configuration and agrees with the manifest."""
    found, listed = tested.receipt, tested.listed
    if found.configuration_hash != tested.manifest.configuration_hash:
        return "its receipt belongs to another configuration"
    listing = (listed.trajectories, listed.size, listed.sha256) if listed else (0, 0, "")
    if listing != (found.trajectories, found.size, found.sha256):
        return f"the manifest lists {listing}, its receipt {found.trajectories, found.size, found.sha256}"
    return None


def size(tested: ShardUnderTest) -> str | None:
    """Check that the file has the size in the manifest; a shard without trajectories has no file."""
    expected = tested.listed.size if tested.listed else 0
    found = tested.path.stat().st_size if tested.path.is_file() else 0
    return None if found == expected else f"{found} bytes found, {expected} expected"


def checksum(tested: ShardUnderTest) -> str | None:
    """Check that the bytes have the checksum in the receipt."""
    expected, found = tested.receipt.sha256, sha256_of(tested.path)
    return None if found == expected else f"SHA-256 {found} found, {expected} expected"


def no_external_links(tested: ShardUnderTest) -> str | None:
    """Check that no link or dataset of the file leads outside of it."""
    hdf5.places(tested.path)
    return None


def attributes(tested: ShardUnderTest) -> str | None:
    """Check that the attributes of the file and its groups agree with the layout, `complete` included."""
    expected = group_attributes(tested.manifest.header, tested.receipt.trajectories)
    expected["/"] |= {"complete": True}
    for group, marks in expected.items():
        found = hdf5.attributes(tested.path, group)
        for name, value in marks.items():
            if name not in found or not np.array_equal(found[name], value):
                seen = np.asarray(found.get(name)).tolist()
                return f"{group} {name}: {seen!r} found, {np.asarray(value).tolist()!r} expected"
    return None


def layout(tested: ShardUnderTest) -> str | None:
    """Check that every dataset has the shape and type of the layout, and that coordinates have its values."""
    for path, item in items(tested.manifest.header, tested.receipt.trajectories).items():
        if path not in tested.arrays:
            return f"{path} is missing"
        found = tested.arrays[path]
        if (found.shape, found.dtype) != (item.shape, item.dtype):
            return f"{path}: {found.dtype}{found.shape} found, {item.dtype}{item.shape} expected"
        if item.values is not None and not np.array_equal(found, item.values):
            return f"{path}: {found[:4]}... found, {item.values[:4]}... expected"
    return None


def units_and_names(tested: ShardUnderTest) -> str | None:
    """Check that every dataset has the unit and the description in the manifest's spec."""
    for path, item in items(tested.manifest.header, tested.receipt.trajectories).items():
        found = hdf5.attributes(tested.path, path)
        for name, value in item.attributes.items():
            if name not in found or not np.array_equal(found[name], value):
                return f"{path} {name}: {found.get(name)!r} found, {value!r} expected"
    return None


def indices(tested: ShardUnderTest) -> str | None:
    """Check that rows and failed trajectories together are the trajectories of this shard, each once.

    Every shard has its own range of indices, so no trajectory can be in two splits.
    """
    receipt, shard = tested.receipt, tested.shard
    if (receipt.first, receipt.drawn) != (shard.first, shard.count):
        drawn = range(receipt.first, receipt.first + receipt.drawn)
        return f"its receipt covers the trajectories {drawn}, {shard.indices} expected"
    found, expected = tested.arrays["sample"], receipt.indices
    if len(expected) != len(found):
        failed = [failure.index for failure in receipt.failed]
        return f"its receipt lists failed trajectories {failed}; each has to belong to this shard, once"
    wrong = np.flatnonzero(found != expected)
    if wrong.size:
        row = int(wrong[0])
        return f"row {row} is trajectory {found[row]}, {expected[row]} expected"
    return None


def finite(tested: ShardUnderTest) -> str | None:
    """Check that no value is NaN or infinite."""
    for path, item in items(tested.manifest.header, tested.receipt.trajectories).items():
        if item.varies and item.dtype.kind == "f":
            flat = tested.arrays[path].reshape(-1)
            for start in range(0, flat.size, _CHUNK):
                wrong = np.flatnonzero(~np.isfinite(flat[start : start + _CHUNK]))
                if wrong.size:
                    place = np.unravel_index(start + int(wrong[0]), item.shape)
                    return f"{path}{[int(one) for one in place]} is {flat[start + int(wrong[0])]}"
    return None


def parameter_range(tested: ShardUnderTest) -> str | None:
    """Check that the scalar parameters lie in their range, or outside of it in the extrapolation split."""
    for parameter in tested.manifest.spec.parameters:
        low, high = parameter.low, parameter.high
        values = tested.arrays[f"scalars/{parameter.name}"]
        inside = (values >= low) & (values <= high)
        wrong = values[inside] if tested.shard.outside else values[~inside]
        if wrong.size:
            where = "outside of" if tested.shard.outside else "in"
            return f"{parameter.name}={wrong[0]:g} found, a value {where} [{low:g}, {high:g}] expected"
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


def of_shard(tested: ShardUnderTest) -> Iterator[tuple[str, str | None]]:
    """Yield the name of each check of one shard with its result: what is wrong, or None."""
    for check in SHARD_CHECKS:
        if tested.listed is None and check is checksum:
            return
        try:
            wrong = check(tested)
        except (ValueError, OSError) as error:
            wrong = str(error)
        yield check.__name__, wrong
        if wrong:
            return


def of_whole(folder: Path, manifest: Manifest) -> Iterator[tuple[str, str | None]]:
    """Yield the name and the result of each check of the data set as a whole, as `of_shard`."""
    yield "manifest", _manifest(folder, manifest)
    yield "foreign_files", _foreign_files(folder, manifest)
    yield "statistics", _statistics(folder, manifest)


def _manifest(folder: Path, manifest: Manifest) -> str | None:
    """Check that the configuration has the hash in every shard and that the rest agrees with the receipts."""
    found, asked = digest(manifest.configuration), manifest.configuration_hash
    if found != asked:
        return f"its configuration was changed: hash {found} found, {asked} expected"
    try:
        expected = completed(manifest, receipts_of(folder, manifest), manifest.statistics_sha256)
    except ValueError as error:
        return f"manifest and receipts cannot be compared: {error}"
    wrong = differences(manifest.model_dump(mode="json"), expected.model_dump(mode="json"))
    return f"manifest and receipts differ (found -> expected): {wrong[0]}" if wrong else None


def _foreign_files(folder: Path, manifest: Manifest) -> str | None:
    """Check that a split's folder holds its shards alone, since other readers open every file in it."""
    planned = {folder / shard.file for shard in manifest.planned}
    found = [
        path for path in sorted((folder / "data").rglob("*")) if not path.is_dir() and path not in planned
    ]
    return (
        f"{found[0]} is not a shard of this data set. A split's folder holds its shards alone. Remove it"
        if found
        else None
    )


def _statistics(folder: Path, manifest: Manifest) -> str | None:
    """Check that `stats.yaml` agrees with the sum of the receipts of the training split."""
    try:
        expected = to_yaml(training_statistics(manifest.header, combined(receipts_of(folder, manifest))))
        found = (folder / "stats.yaml").read_text(encoding="utf-8")
    except (ValueError, KeyError, OSError) as error:
        return f"the statistics cannot be compared: {error}"
    return None if found == expected else "stats.yaml differs from what the receipts add up to"
