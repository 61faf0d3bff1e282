"""The checks of a validation, one small function each; another check is another function in the list.

A check gets a shard and returns what is wrong with it: found against expected; nothing when all is
well. The checks of a shard are made in their order up to the first that fails, so a later one can rely
on the earlier: the bytes are those of the receipt and lie in this file before any value is read.
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
from pipeline.data.statistics import combined, statistics, to_yaml
from simsurrogate.files import differences, digest, sha256_of

_CHUNK = 2**22


@dataclass(frozen=True)
class Subject:
    """One shard under examination: as planned, as the manifest lists it (None where it does not), and
    as it lies in `folder`.
    """

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
        """The shard's datasets by path, not read yet."""
        return hdf5.memory_maps(self.path, hdf5.places(self.path))


def receipt(subject: Subject) -> str | None:
    """The receipt is of this configuration and agrees with the manifest."""
    found, listed = subject.receipt, subject.listed
    if found.configuration_hash != subject.manifest.configuration_hash:
        return "its receipt is of another configuration"
    listing = (listed.trajectories, listed.size, listed.sha256) if listed else (0, 0, "")
    if listing != (found.trajectories, found.size, found.sha256):
        return f"the manifest lists {listing}, its receipt {found.trajectories, found.size, found.sha256}"
    return None


def size(subject: Subject) -> str | None:
    """The file is as long as the manifest says; a shard without trajectories has none."""
    expected = subject.listed.size if subject.listed else 0
    found = subject.path.stat().st_size if subject.path.is_file() else 0
    return None if found == expected else f"{found} bytes found, {expected} expected"


def checksum(subject: Subject) -> str | None:
    """The bytes are those that were written."""
    expected, found = subject.receipt.sha256, sha256_of(subject.path)
    return None if found == expected else f"SHA-256 {found} found, {expected} expected"


def containment(subject: Subject) -> str | None:
    """Nothing in the file leads outside of it."""
    hdf5.places(subject.path)
    return None


def completeness(subject: Subject) -> str | None:
    """The marks on the file and its groups are those of the layout, `complete` among them."""
    expected = group_attributes(subject.manifest.header, subject.receipt.trajectories)
    expected["/"] |= {"complete": True}
    for group, marks in expected.items():
        found = hdf5.attributes(subject.path, group)
        for name, value in marks.items():
            if name not in found or not np.array_equal(found[name], value):
                seen = np.asarray(found.get(name)).tolist()
                return f"{group} {name}: {seen!r} found, {np.asarray(value).tolist()!r} expected"
    return None


def layout(subject: Subject) -> str | None:
    """Every dataset has the shape and type of the layout, and coordinates their values."""
    for path, item in items(subject.manifest.header, subject.receipt.trajectories).items():
        if path not in subject.arrays:
            return f"{path} is missing"
        found = subject.arrays[path]
        if (found.shape, found.dtype) != (item.shape, item.dtype):
            return f"{path}: {found.dtype}{found.shape} found, {item.dtype}{item.shape} expected"
        if item.values is not None and not np.array_equal(found, item.values):
            return f"{path}: {found[:4]}... found, {item.values[:4]}... expected"
    return None


def meaning(subject: Subject) -> str | None:
    """Every dataset has the unit and the description that the manifest's spec gives it."""
    for path, item in items(subject.manifest.header, subject.receipt.trajectories).items():
        found = hdf5.attributes(subject.path, path)
        for name, value in item.attributes.items():
            if name not in found or not np.array_equal(found[name], value):
                return f"{path} {name}: {found.get(name)!r} found, {value!r} expected"
    return None


def indices(subject: Subject) -> str | None:
    """The rows are trajectories of this shard, each once, and with the failed ones all of them.

    Every shard has its own range of indices, so no trajectory can be in two splits.
    """
    papers, shard = subject.receipt, subject.shard
    if (papers.first, papers.drawn) != (shard.first, shard.count):
        drawn = range(papers.first, papers.first + papers.drawn)
        return f"its receipt is of trajectories {drawn}, {shard.indices} expected"
    found, expected = subject.arrays["sample"], papers.indices
    if len(expected) != len(found):
        failed = [failure.index for failure in papers.failed]
        return f"its receipt tells of failed trajectories {failed} that are not, each once, of this shard"
    wrong = np.flatnonzero(found != expected)
    if wrong.size:
        row = int(wrong[0])
        return f"row {row} is trajectory {found[row]}, {expected[row]} expected"
    return None


def finite(subject: Subject) -> str | None:
    """No value is NaN or infinite."""
    for path, item in items(subject.manifest.header, subject.receipt.trajectories).items():
        if item.varies and item.dtype.kind == "f":
            flat = subject.arrays[path].reshape(-1)
            for start in range(0, flat.size, _CHUNK):
                wrong = np.flatnonzero(~np.isfinite(flat[start : start + _CHUNK]))
                if wrong.size:
                    place = np.unravel_index(start + int(wrong[0]), item.shape)
                    return f"{path}{[int(one) for one in place]} is {flat[start + int(wrong[0])]}"
    return None


def parameter_range(subject: Subject) -> str | None:
    """The scalar parameters lie in their range, those of the extrapolation split outside of it."""
    for parameter in subject.manifest.spec.parameters:
        low, high = parameter.low, parameter.high
        values = subject.arrays[f"scalars/{parameter.name}"]
        inside = (values >= low) & (values <= high)
        wrong = values[inside] if subject.shard.outside else values[~inside]
        if wrong.size:
            where = "outside of" if subject.shard.outside else "in"
            return f"{parameter.name}={wrong[0]:g} found, a value {where} [{low:g}, {high:g}] expected"
    return None


#: The checks of every shard, in this order. Gates on the physics have their place at its end.
SHARD_CHECKS = (
    receipt,
    size,
    checksum,
    containment,
    completeness,
    layout,
    meaning,
    indices,
    finite,
    parameter_range,
)


def of_shard(subject: Subject) -> Iterator[tuple[str, str | None]]:
    """The names of the checks that were made of one shard, each with what is wrong."""
    for check in SHARD_CHECKS:
        if subject.listed is None and check is checksum:
            return
        try:
            wrong = check(subject)
        except (ValueError, OSError) as error:
            wrong = str(error)
        yield check.__name__, wrong
        if wrong:
            return


def of_whole(folder: Path, manifest: Manifest) -> Iterator[tuple[str, str | None]]:
    """The checks of the data set as a whole, as `of_shard`."""
    yield "manifest", _manifest(folder, manifest)
    yield "foreign_files", _foreign_files(folder, manifest)
    yield "statistics", _statistics(folder, manifest)


def _manifest(folder: Path, manifest: Manifest) -> str | None:
    """The configuration has the hash that every shard carries, and the rest is what the receipts say."""
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
    """Readers take every file of a split's folder, so there must be no other."""
    planned = {folder / shard.file for shard in manifest.planned}
    found = [
        path for path in sorted((folder / "data").rglob("*")) if not path.is_dir() and path not in planned
    ]
    return f"{found[0]} is no shard of this data set; remove it" if found else None


def _statistics(folder: Path, manifest: Manifest) -> str | None:
    """`stats.yaml` is what the receipts of the training split add up to."""
    try:
        expected = to_yaml(statistics(manifest.header, combined(receipts_of(folder, manifest))))
        found = (folder / "stats.yaml").read_text(encoding="utf-8")
    except (ValueError, KeyError, OSError) as error:
        return f"the statistics cannot be compared: {error}"
    return None if found == expected else "stats.yaml differs from what the receipts add up to"
