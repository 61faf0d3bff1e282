"""The folder of a data set while it is made: claimed, checked shard by shard, and finished."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from pipeline.data import card
from pipeline.data.files import sha256_of, write_whole
from pipeline.data.manifest import (
    Manifest,
    ManifestShard,
    Receipt,
    differences,
    read_paper,
    receipt_path,
    write_paper,
)
from pipeline.data.plan import SPLITS, Shard
from pipeline.data.statistics import combined, statistics, to_yaml


def claim(folder: Path, plan: Manifest, start_anew: bool) -> None:
    """Writes the incomplete manifest `plan` into a folder that has none.

    Raises:
        ValueError: the folder holds a data set of another configuration (unless `start_anew`, which
            deletes that), or data that this pipeline did not make.
    """
    path = folder / "manifest.json"
    if path.exists():
        changed = differences(read_paper(path, Manifest).configuration, plan.configuration)
        if not changed:
            return
        if not start_anew:
            raise ValueError(
                f"{folder} holds a data set of another configuration: {'; '.join(changed)} (there -> asked); "
                "choose another folder with run=, or delete that data set with start_anew=true"
            )
        _delete(folder)
    elif (folder / "data").exists() and not (folder / "receipts").exists():
        raise ValueError(f"{folder} holds data that this pipeline did not make; choose another with dataset=")
    write_paper(path, plan)


def verified_receipt(folder: Path, plan: Manifest, shard: Shard) -> Receipt | None:
    """The receipt of a shard, if it belongs to this configuration and to the bytes that are there."""
    try:
        receipt = read_paper(receipt_path(folder, shard), Receipt)
    except ValueError:
        return None
    asked = (plan.configuration_hash, shard.split, shard.number, list(shard.indices))
    drawn = sorted(receipt.indices + [failure.index for failure in receipt.failed])
    if (receipt.configuration_hash, receipt.split, receipt.number, drawn) != asked:
        return None
    path = folder / shard.file
    if not receipt.indices:
        return None if path.exists() else receipt
    if not path.is_file() or path.stat().st_size != receipt.size or sha256_of(path) != receipt.sha256:
        return None
    return receipt


def is_finished(folder: Path) -> bool:
    """Whether all that is made from the shards is there, and the manifest says so."""
    manifest = read_paper(folder / "manifest.json", Manifest)
    yaml = folder / "stats.yaml"
    return (
        manifest.complete
        and yaml.is_file()
        and sha256_of(yaml) == manifest.statistics_sha256
        and (folder / "README.md").is_file()
    )


def reopen(folder: Path, plan: Manifest) -> None:
    """Takes back that the data set is complete, before shards of it are made anew."""
    if read_paper(folder / "manifest.json", Manifest).complete:
        write_paper(folder / "manifest.json", plan)


def finish(folder: Path, plan: Manifest, max_failed_share: float) -> Manifest:
    """Writes the statistics, the data card and, last, the complete manifest.

    Raises:
        ValueError: more than `max_failed_share` of the trajectories failed, or all of a split.
    """
    shards = plan.planned
    receipts = [read_paper(receipt_path(folder, shard), Receipt) for shard in shards]
    failed = [failure for receipt in receipts for failure in receipt.failed]
    refuse_failures(plan, len(failed), max_failed_share, failed[0].reason if failed else "")
    for split in {shard.split for shard in shards}:
        if not any(receipt.indices for receipt in receipts if receipt.split == split):
            raise ValueError(f"every trajectory of split {split} failed, the first: {failed[0].reason}")
    found = statistics(plan.header, combined(receipts))
    text = to_yaml(found)
    manifest = plan.model_copy(
        update={
            "complete": True,
            "shards": [
                ManifestShard(
                    file=shard.file,
                    trajectories=len(receipt.indices),
                    size=receipt.size,
                    sha256=receipt.sha256,
                    core_seconds=receipt.core_seconds,
                )
                for shard, receipt in zip(shards, receipts, strict=True)
                if receipt.indices
            ],
            "failed": failed,
            "statistics_sha256": hashlib.sha256(text.encode()).hexdigest(),
        }
    )
    write_whole(folder / "stats.yaml", text)
    card.write(folder, manifest, found)
    for leftover in (folder / "data").glob("*/.*.partial"):
        leftover.unlink()
    write_paper(folder / "manifest.json", manifest)
    return manifest


def refuse_failures(plan: Manifest, failed: int, max_failed_share: float, reason: str) -> None:
    """Raises ValueError where `failed` trajectories are more than that share of all."""
    total = sum(shard.count for shard in plan.planned)
    if failed > max_failed_share * total:
        raise ValueError(
            f"{failed} of {total} trajectories failed, more than storage.max_failed_share={max_failed_share}; "
            f"one reason: {reason}; change the solver's options, or raise storage.max_failed_share and run "
            "it again: finished shards are kept"
        )


def _delete(folder: Path) -> None:
    """Deletes what `generate` and `validate` made here, the manifest last."""
    made = [folder / "receipts", folder / "pictures", *(folder / "data" / split for split in SPLITS)]
    for path in made:
        shutil.rmtree(path, ignore_errors=True)
    for name in ("validation.json", "stats.yaml", "README.md", "manifest.json"):
        (folder / name).unlink(missing_ok=True)
