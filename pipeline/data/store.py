"""The folder of a data set during generation: its claim, the check of its receipts, and its completion."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from pipeline.data import croissant
from pipeline.data.accuracy import ExpectedError
from pipeline.data.manifest import (
    FORMAT,
    Failure,
    Manifest,
    Receipt,
    finished_manifest,
    read_document,
    receipt_path,
    receipts_of,
    write_document,
)
from pipeline.data.plan import SHARD_NAME, SPLITS, Shard
from pipeline.data.recorded_configuration import Configuration, grows
from pipeline.data.statistics import statistics_of, to_yaml
from simsurrogate.documents import read_json
from simsurrogate.errors import UserError
from simsurrogate.files import differences, remove_partials, sha256_of, write_whole
from simsurrogate.owned_files import delete_files

_REMEDY = (
    "A folder holds one data set of one configuration, and only its numbers of trajectories may grow. Choose "
    "another folder with run=, or delete that data set with overwrite=true"
)


def recorded_errors(folder: Path, plan: Manifest) -> dict[str, ExpectedError]:
    """Return the expected errors in the manifest of this data set, if there is one."""
    try:
        manifest = read_document(folder / "manifest.json", Manifest)
    except (OSError, ValueError):
        return {}
    has_outside = [stored.configuration["samples"]["test_extrapolation"] > 0 for stored in (manifest, plan)]
    is_same = (manifest.shard_hash, manifest.method) == (plan.shard_hash, plan.method)
    return manifest.expected_errors if is_same and has_outside[0] == has_outside[1] else {}


def claim(folder: Path, plan: Manifest, overwrite: bool) -> Manifest:
    """Write the incomplete manifest `plan` into a folder without a manifest or with a changed manifest.

    A data set of fewer trajectories keeps its shards. With `overwrite`, a data set of another configuration
    is deleted first. A plan without expected errors takes those of the folder, which another part has
    recorded. The result is the plan with these errors.

    Raises:
        UserError: the folder holds data that this pipeline did not make; or, without `overwrite`, a data set
            of another configuration or with an unreadable manifest.
    """
    path = folder / "manifest.json"
    if not _is_replaceable(folder):
        raise UserError(
            f"{folder} holds data that this pipeline did not make. The folder has to be empty or made "
            "by this pipeline. Choose another folder with dataset="
        )
    if path.exists():
        difference = _difference(path, plan)
        if difference and not overwrite:
            raise UserError(f"{difference}. {_REMEDY}")
        if difference:
            _delete_data_set(folder)
        else:
            errors = plan.expected_errors or recorded_errors(folder, plan)
            plan = plan.model_copy(update={"expected_errors": errors})
            if read_document(path, Manifest).without_shards == plan:
                return plan
    write_document(path, plan)
    return plan


def refuse_other_configuration(folder: Path, configuration: Configuration) -> None:
    """Refuse a data set of another configuration before any work, as `claim` does later.

    Raises:
        UserError: the folder holds a data set of another configuration.
    """
    path = folder / "manifest.json"
    if not path.exists():
        return
    stored = read_document(path, Manifest).configuration
    if (changes := differences(stored, configuration)) and not grows(stored, configuration):
        raise UserError(f"{_difference_message(folder, changes)}. {_REMEDY}")


def verified_receipt(folder: Path, plan: Manifest, shard: Shard) -> Receipt | None:
    """Return the receipt of a shard; None if it disagrees with the configuration or with the file's bytes."""
    try:
        receipt = read_document(receipt_path(folder, shard), Receipt)
    except ValueError:
        return None
    in_plan = (plan.shard_hash, shard.split, shard.number, shard.first, shard.count)
    in_receipt = (receipt.configuration_hash, receipt.split, receipt.number, receipt.first, receipt.drawn)
    if in_receipt != in_plan or not all(failure.index in shard.indices for failure in receipt.failed):
        return None
    path = folder / shard.file
    if not receipt.trajectories:
        return None if path.exists() else receipt
    if not path.is_file() or path.stat().st_size != receipt.size or sha256_of(path) != receipt.sha256:
        return None
    return receipt


def is_finished(folder: Path, plan: Manifest) -> bool:
    """Return whether manifest and statistics agree with the receipts of all shards, and the cards exist."""
    manifest = read_document(folder / "manifest.json", Manifest)
    statistics = folder / "stats.yaml"
    return (
        manifest == finished_manifest(plan, receipts_of(folder, plan), manifest.statistics_sha256)
        and statistics.is_file()
        and sha256_of(statistics) == manifest.statistics_sha256
        and (folder / "README.md").is_file()
        and (folder / croissant.FILE_NAME).is_file()
    )


def reopen(folder: Path, plan: Manifest) -> None:
    """Mark the data set as incomplete before its missing shards are generated."""
    if read_document(folder / "manifest.json", Manifest).complete:
        write_document(folder / "manifest.json", plan)


def finish(folder: Path, plan: Manifest, max_failed_share: float) -> Manifest:
    """Write the statistics, the data card, croissant.json and, last, the complete manifest; return it.

    Raises:
        UserError: more than `max_failed_share` of the trajectories failed, or every trajectory of a split.
    """
    from pipeline.data.card import card  # only the rank that finishes needs matplotlib

    receipts = receipts_of(folder, plan)
    failures = [failure for receipt in receipts for failure in receipt.failed]
    refuse_failures(plan, failures, max_failed_share)
    for split in {receipt.split for receipt in receipts}:
        if not any(receipt.trajectories for receipt in receipts if receipt.split == split):
            raise UserError(
                f"every trajectory of split {split} failed; one reason: {failures[0].reason}. A split needs "
                "at least one trajectory. Change the solver's options"
            )
    stats = statistics_of(plan.header, receipts)
    statistics_text = to_yaml(stats)
    manifest = finished_manifest(plan, receipts, hashlib.sha256(statistics_text.encode()).hexdigest())
    write_whole(folder / "stats.yaml", statistics_text)
    card.write(folder, manifest, stats)
    croissant.write(folder, manifest)
    remove_all_partials(folder)
    write_document(folder / "manifest.json", manifest)
    return manifest


def remove_all_partials(folder: Path) -> None:
    """Remove the temporary files of dead processes; no other process may write the data set meanwhile."""
    for subfolder in ("", "receipts", "figures", *(f"data/{split}" for split in SPLITS)):
        remove_partials(folder / subfolder)


def refuse_failures(plan: Manifest, failures: Sequence[Failure], max_failed_share: float) -> None:
    """Raise `UserError` if more than `max_failed_share` of all trajectories failed.

    Trajectories that a verification has rejected are no failures.
    """
    reasons = [failure.reason for failure in failures if not failure.rejected]
    total = sum(shard.count for shard in plan.planned_shards)
    if len(reasons) > max_failed_share * total:
        raise UserError(
            f"{len(reasons)} of {total} trajectories failed, more than storage.max_failed_share="
            f"{max_failed_share} allows; one reason: {reasons[0]}. Change the solver's options, or raise "
            "storage.max_failed_share and run the same command again: finished shards are kept"
        )


def _is_replaceable(folder: Path) -> bool:
    """Return whether `overwrite` may delete the folder: this pipeline wrote it, or it holds no data."""
    try:
        manifest = read_json(folder / "manifest.json", dict[str, object], "Choose another folder with run=")
    except UserError:
        return (folder / "receipts").exists() or not (folder / "data").exists()
    return manifest.get("format") == FORMAT


def _difference(path: Path, plan: Manifest) -> str:
    """Return the difference of the data set of this manifest from `plan`; an empty text without a difference.

    An equal configuration or an equal hash is enough. A manifest in which only the configuration or only the
    hash is equal was edited, and the hash in each receipt identifies the configuration of the shards.
    """
    try:
        manifest = read_document(path, Manifest)
    except ValueError as error:
        return str(error)
    if manifest.method != plan.method:
        return f"{path.parent} holds a data set of the method {manifest.method}, not of {plan.method}"
    changes = differences(manifest.configuration, plan.configuration)
    is_same = not changes or manifest.configuration_hash == plan.configuration_hash
    if is_same or grows(manifest.configuration, plan.configuration):
        return ""
    return _difference_message(path.parent, changes)


def _difference_message(folder: Path, changes: Sequence[str]) -> str:
    """Return the message about a data set with other values of some keys."""
    return f"{folder} holds a data set of another configuration: {'; '.join(changes)} (stored -> requested)"


def _delete_data_set(folder: Path) -> None:
    """Delete the output of `generate` and `validate`, the manifest last. Files of the user are kept."""
    # Imported here because only a deletion needs the name, and the module imports matplotlib.
    from pipeline.data.card.figures import FIGURE_NAME

    delete_files(folder / "receipts", rf"{SHARD_NAME}\.json")
    delete_files(folder / "figures", FIGURE_NAME)
    for split in SPLITS:
        delete_files(folder / "data" / split, rf"{SHARD_NAME}\.hdf5")
    for name in ("validation.json", "stats.yaml", "README.md", croissant.FILE_NAME, "manifest.json"):
        (folder / name).unlink(missing_ok=True)
