"""The checks of a data set's integrity, one small function each.

A check receives a shard and returns an error message with the found and the expected value, or None if the
shard passes. The checks of a shard run in the order of `SHARD_CHECKS` up to the first failure. A later check
relies on the earlier checks: before any value is read, the bytes agree with the receipt and no dataset lies
outside the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.data.checks import receipt_statistics as statistics_check
from pipeline.data.checks import variation
from pipeline.data.checks.content import finite, float32_range, isolated_values, parameter_range
from pipeline.data.checks.shard_under_test import ShardUnderTest
from pipeline.data.manifest import Manifest, finished_manifest, receipt_path, receipts_of
from pipeline.data.statistics import REMEDY, statistics_of, to_yaml
from simsurrogate.documents import read_text
from simsurrogate.files import differences, digest, sha256_of


def receipt(shard_under_test: ShardUnderTest) -> str | None:
    """Check that the receipt belongs to this configuration and agrees with the manifest."""
    receipt, entry = shard_under_test.receipt, shard_under_test.entry
    if receipt.configuration_hash != shard_under_test.manifest.shard_hash:
        return "the shard's receipt belongs to another configuration"
    shard = shard_under_test.shard
    if (receipt.split, receipt.number) != (shard.split, shard.number):
        return (
            f"{receipt_path(shard_under_test.folder, shard).name} is the receipt of {receipt.split} "
            f"{receipt.number}, {shard.split} {shard.number} expected"
        )
    in_receipt = (receipt.trajectories, receipt.size, receipt.sha256)
    in_manifest = (entry.trajectories, entry.size, entry.sha256) if entry else (0, 0, "")
    if in_manifest != in_receipt:
        return (
            f"the manifest lists {in_manifest} as trajectories, size and checksum, the receipt {in_receipt}"
        )
    return None


def size(shard_under_test: ShardUnderTest) -> str | None:
    """Check that the file has the size in the manifest; a shard without trajectories has no file."""
    expected_size = shard_under_test.entry.size if shard_under_test.entry else 0
    file_size = shard_under_test.path.stat().st_size if shard_under_test.path.is_file() else 0
    return None if file_size == expected_size else f"{file_size} bytes found, {expected_size} expected"


def checksum(shard_under_test: ShardUnderTest) -> str | None:
    """Check that the bytes, also those of linked files, have their recorded checksum."""
    expected_checksum, actual_checksum = shard_under_test.receipt.sha256, sha256_of(shard_under_test.path)
    if actual_checksum != expected_checksum:
        return f"SHA-256 {actual_checksum} found, {expected_checksum} expected"
    for link in shard_under_test.manifest.links.get(shard_under_test.shard.file, ()):
        actual_checksum = shard_under_test.linked_checksums.get(str(link.checked_path), "")
        if actual_checksum != link.sha256:
            return f"{link.path}: SHA-256 {actual_checksum} found, {link.sha256} expected"
    return None


def structure(shard_under_test: ShardUnderTest) -> str | None:
    """Check that all of the file except the values of trajectories agrees with the manifest's description.

    Links, attributes, types, shapes, coordinates and boundary conditions belong to the structure, and so does
    the mark `complete`, which is written last.
    """
    assert shard_under_test.arrays
    return None


def indices(shard_under_test: ShardUnderTest) -> str | None:
    """Check that each planned trajectory of the shard is in exactly one row or in the list of failures.

    Every shard has its own range of indices, so no trajectory can be in two splits.
    """
    receipt, shard = shard_under_test.receipt, shard_under_test.shard
    if (receipt.first, receipt.drawn) != (shard.first, shard.count):
        receipt_range = range(receipt.first, receipt.first + receipt.drawn)
        return f"the receipt covers the trajectories {receipt_range}, {shard.indices} expected"
    stored_indices, expected_indices = shard_under_test.arrays["sample"], receipt.indices
    if len(expected_indices) != len(stored_indices):
        failed_indices = [failure.index for failure in receipt.failed]
        return (
            f"the receipt lists the failed trajectories {failed_indices}; each failed trajectory has to "
            "belong to this shard, once"
        )
    wrong_rows = np.flatnonzero(stored_indices != expected_indices)
    if wrong_rows.size:
        row = int(wrong_rows[0])
        return f"row {row} is trajectory {stored_indices[row]}, {expected_indices[row]} expected"
    return None


def receipt_statistics(shard_under_test: ShardUnderTest) -> str | None:
    """Check that the statistics in the receipt are those of the data."""
    return statistics_check.mistake(
        shard_under_test.structures, shard_under_test.path, shard_under_test.receipt
    )


#: The checks of every shard, in this order.
SHARD_CHECKS = (
    receipt,
    size,
    checksum,
    structure,
    indices,
    finite,
    isolated_values,
    float32_range,
    parameter_range,
    receipt_statistics,
)


def check_shard(shard_under_test: ShardUnderTest) -> Iterator[tuple[str, str | None]]:
    """Yield the name of each check of one shard with its result: an error message, or None."""
    for check in SHARD_CHECKS:
        if shard_under_test.entry is None and check is checksum:
            return
        try:
            message = check(shard_under_test)
        except (ValueError, OSError) as error:
            message = str(error)
        yield check.__name__, message
        if message:
            return


def check_data_set(folder: Path, manifest: Manifest) -> Iterator[tuple[str, str | None]]:
    """Yield the name of each check of the whole data set with its result: an error message, or None."""
    yield "manifest", _manifest(folder, manifest)
    yield "coarsening", _coarsening(manifest)
    yield "foreign_files", _foreign_files(folder, manifest)
    yield "statistics", _statistics(folder, manifest)
    yield "variation", variation.mistake(folder, manifest)


def _manifest(folder: Path, manifest: Manifest) -> str | None:
    """Check that the configuration has the recorded hash, and that the manifest agrees with the receipts."""
    actual_hash, expected_hash = digest(manifest.configuration), manifest.configuration_hash
    if actual_hash != expected_hash:
        return f"its configuration was changed: hash {actual_hash} found, {expected_hash} expected"
    try:
        expected_manifest = finished_manifest(
            manifest, receipts_of(folder, manifest), manifest.statistics_sha256
        )
    except ValueError as error:
        return f"manifest and receipts cannot be compared: {error}"
    changes = differences(manifest.model_dump(mode="json"), expected_manifest.model_dump(mode="json"))
    return f"manifest and receipts differ (found -> expected): {changes[0]}" if changes else None


def _coarsening(manifest: Manifest) -> str | None:
    """Check that the spec has the coarsening of the configuration."""
    output, coarsening = manifest.configuration["output"], manifest.spec.coarsening
    coarsen, method = output.get("coarsen", 1), output.get("coarsen_method", "automatic")
    num_axes = len(manifest.spec.shape)
    cells = [coarsen] * num_axes if isinstance(coarsen, int) else list(coarsen)
    spec_cells = list(coarsening.cells) if coarsening else [1] * num_axes
    if spec_cells != cells:
        return (
            f"the spec has cells of {spec_cells} of the solver's cells, {cells} by output.coarsen={coarsen}"
        )
    if coarsening and method not in ("automatic", coarsening.method):
        return f"the spec has the method {coarsening.method}, {method} by output.coarsen_method"
    return None


def _foreign_files(folder: Path, manifest: Manifest) -> str | None:
    """Check that the folder of each split holds only shards, because other readers open every file there."""
    shard_paths = {folder / shard.file for shard in manifest.planned_shards}
    for path in sorted((folder / "data").rglob("*")):
        if not path.is_dir() and path not in shard_paths:
            return f"{path} is not a shard of this data set. A split holds only shards. Remove the file"
    return None


def _statistics(folder: Path, manifest: Manifest) -> str | None:
    """Check that `stats.yaml` agrees with the sum of the receipts of the training split."""
    try:
        expected_text = to_yaml(statistics_of(manifest.header, receipts_of(folder, manifest)))
        stored_text = read_text(folder / "stats.yaml", REMEDY).decode(errors="replace")
    except (ValueError, KeyError, OSError) as error:
        return f"the statistics cannot be compared: {error}"
    return (
        None
        if stored_text == expected_text
        else "stats.yaml differs from the sum of the receipts' statistics"
    )
