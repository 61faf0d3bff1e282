"""The folder of a data set that is being generated: claim it, check its shards, finish it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.data.manifest import (
    FORMAT,
    Manifest,
    Receipt,
    completed,
    read_document,
    receipt_path,
    receipts_of,
    write_document,
)
from pipeline.data.plan import SPLITS, Shard
from pipeline.data.statistics import combined, to_yaml, training_statistics
from simsurrogate.errors import UserError
from simsurrogate.files import differences, sha256_of, write_whole

_REMEDY = "choose another folder with run=, or delete that data set with start_anew=true"


def claim(folder: Path, plan: Manifest, start_anew: bool) -> None:
    """Write the incomplete manifest `plan` into a folder without a manifest or with a changed one.

    Raises:
        UserError: the folder holds a data set of another configuration, or one whose manifest cannot
            be read (unless `start_anew`, which deletes it); or data that this pipeline did not make.
    """
    path = folder / "manifest.json"
    if not _is_ours(folder):
        raise UserError(f"{folder} holds data that this pipeline did not make; choose another with dataset=")
    if path.exists():
        obstacle = _obstacle(path, plan)
        if obstacle and not start_anew:
            raise UserError(f"{obstacle}; {_REMEDY}")
        if obstacle:
            _delete(folder)
        elif read_document(path, Manifest).unmade == plan:
            return
    write_document(path, plan)


def refuse_other(folder: Path, configuration: Mapping[str, Any]) -> None:
    """Refuse, before any work, a folder that `claim` would refuse for its configuration.

    Raises:
        UserError: it holds a data set of another configuration.
    """
    path = folder / "manifest.json"
    changed = differences(read_document(path, Manifest).configuration, configuration) if path.exists() else []
    if changed:
        raise UserError(f"{_other(folder, changed)}; {_REMEDY}")


def verified_receipt(folder: Path, plan: Manifest, shard: Shard) -> Receipt | None:
    """Return the receipt of a shard if it agrees with this configuration and with the file's bytes."""
    try:
        receipt = read_document(receipt_path(folder, shard), Receipt)
    except ValueError:
        return None
    asked = (plan.configuration_hash, shard.split, shard.number, shard.first, shard.count)
    found = (receipt.configuration_hash, receipt.split, receipt.number, receipt.first, receipt.drawn)
    if found != asked or not all(failure.index in shard.indices for failure in receipt.failed):
        return None
    path = folder / shard.file
    if not receipt.trajectories:
        return None if path.exists() else receipt
    if not path.is_file() or path.stat().st_size != receipt.size or sha256_of(path) != receipt.sha256:
        return None
    return receipt


def is_finished(folder: Path, plan: Manifest) -> bool:
    """Return whether manifest, statistics and data card agree with the receipts of all shards."""
    manifest = read_document(folder / "manifest.json", Manifest)
    yaml = folder / "stats.yaml"
    return (
        manifest == completed(plan, receipts_of(folder, plan), manifest.statistics_sha256)
        and yaml.is_file()
        and sha256_of(yaml) == manifest.statistics_sha256
        and (folder / "README.md").is_file()
    )


def reopen(folder: Path, plan: Manifest) -> None:
    """Mark the data set as incomplete before shards of it are regenerated."""
    if read_document(folder / "manifest.json", Manifest).complete:
        write_document(folder / "manifest.json", plan)


def finish(folder: Path, plan: Manifest, max_failed_share: float) -> Manifest:
    """Write the statistics, the data card and, last, the complete manifest; return the manifest.

    Raises:
        UserError: more than `max_failed_share` of the trajectories failed, or all of a split.
    """
    from pipeline.data.card import card  # only the rank that finishes needs matplotlib

    receipts = receipts_of(folder, plan)
    failed = [failure for receipt in receipts for failure in receipt.failed]
    refuse_failures(plan, len(failed), max_failed_share, failed[0].reason if failed else "")
    for split in {receipt.split for receipt in receipts}:
        if not any(receipt.trajectories for receipt in receipts if receipt.split == split):
            raise UserError(f"every trajectory of split {split} failed, the first: {failed[0].reason}")
    stats = training_statistics(plan.header, combined(receipts))
    text = to_yaml(stats)
    manifest = completed(plan, receipts, hashlib.sha256(text.encode()).hexdigest())
    write_whole(folder / "stats.yaml", text)
    card.write(folder, manifest, stats)
    for leftover in (folder / "data").glob("*/.*.partial"):
        leftover.unlink()
    write_document(folder / "manifest.json", manifest)
    return manifest


def refuse_failures(plan: Manifest, failed: int, max_failed_share: float, reason: str) -> None:
    """Raise `UserError` if `failed` trajectories are more than `max_failed_share` of all."""
    total = sum(shard.count for shard in plan.planned)
    if failed > max_failed_share * total:
        raise UserError(
            f"{failed} of {total} trajectories failed, more than storage.max_failed_share="
            f"{max_failed_share}; one reason: {reason}; change the solver's options, or raise "
            "storage.max_failed_share and run it again: finished shards are kept"
        )


def _is_ours(folder: Path) -> bool:
    """Return whether this pipeline wrote the folder, or it has no data: then `start_anew` may delete it."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return (folder / "receipts").exists() or not (folder / "data").exists()
    return isinstance(manifest, dict) and manifest.get("format") == FORMAT


def _obstacle(path: Path, plan: Manifest) -> str:
    """Return why the data set of this manifest is not the one of `plan`; empty if it is.

    Either an equal configuration or an equal hash is enough: a manifest that contradicts itself was changed,
    and the hash in each receipt identifies the configuration of the shards.
    """
    try:
        found = read_document(path, Manifest)
    except ValueError as error:
        return str(error)
    if found.method != plan.method:
        return f"{path.parent} holds a data set made by {found.method}; asked is {plan.method}"
    changed = differences(found.configuration, plan.configuration)
    if not changed or found.configuration_hash == plan.configuration_hash:
        return ""
    return _other(path.parent, changed)


def _other(folder: Path, changed: Sequence[str]) -> str:
    return f"{folder} holds a data set of another configuration: {'; '.join(changed)} (there -> asked)"


def _delete(folder: Path) -> None:
    """Delete what `generate` and `validate` wrote, the manifest last."""
    made = [folder / "receipts", folder / "figures", *(folder / "data" / split for split in SPLITS)]
    for path in made:
        shutil.rmtree(path, ignore_errors=True)
    for name in ("validation.json", "stats.yaml", "README.md", "manifest.json"):
        (folder / name).unlink(missing_ok=True)
