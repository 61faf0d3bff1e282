"""The validate stage: checks a data set; training refuses a data set that has not passed.

    python -m pipeline.validate run=runs/heat          # or under mpirun: the ranks share the shards

It reads every byte each time, so that it also detects damage that happened after the generation.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import cli
from pipeline.config.settings import Settings
from pipeline.data.checks import integrity
from pipeline.data.checks.integrity import ShardUnderTest
from pipeline.data.manifest import Manifest, Validation, complete_manifest, write_document
from pipeline.parallel import launch
from pipeline.runs import progress, records
from simsurrogate.errors import UserError
from simsurrogate.files import writable_folder

if TYPE_CHECKING:
    from mpi4py import MPI

Findings = list[tuple[str, str, str | None]]


def run(settings: Settings) -> None:
    """Check the data set and write `validation.json` next to its manifest.

    Raises:
        UserError: there is no complete data set, or it failed; the message names each failed shard and check.
    """
    world = launch.world()
    folder = settings.dataset
    manifest = complete_manifest(folder)
    with records.run_record(settings, "validate") as facts:
        if world.rank == 0:
            writable_folder(folder)
        parts = world.gather(_findings(folder, manifest, world))
        if parts is None:
            return
        findings = [finding for part in parts for finding in part]
        findings += [(str(folder), name, wrong) for name, wrong in integrity.of_whole(folder, manifest)]
        validation = _validation(manifest, findings)
        write_document(folder / "validation.json", validation)
        facts |= {"checks": validation.checks, "failures": len(validation.failures)}
        if validation.outcome == "failed":
            raise UserError(
                f"the data set in {folder} failed its validation:\n"
                + "\n".join(validation.failures)
                + "\ntype the command of python -m pipeline.generate again: it regenerates these shards alone"
            )
        print(f"validate: {folder} passed {sum(validation.checks.values())} checks", flush=True)
        progress.report_output("validate", folder / "validation.json", "train")


def _findings(folder: Path, manifest: Manifest, world: MPI.Intracomm) -> Findings:
    """Return the results of the checks of this rank's shards: shard, check, what is wrong."""
    listed = {shard.file: shard for shard in manifest.shards}
    own_shards = manifest.planned[world.rank :: world.size]
    return [
        (shard.file, name, wrong)
        for shard in progress.bar(own_shards, "shards", rank=world.rank)
        for name, wrong in integrity.of_shard(ShardUnderTest(folder, manifest, shard, listed.get(shard.file)))
    ]


def _validation(manifest: Manifest, findings: Findings) -> Validation:
    failures = [f"{what}: {name}: {wrong}" for what, name, wrong in sorted(findings, key=str) if wrong]
    return Validation(
        identity=manifest.identity,
        outcome="failed" if failures else "passed",
        checks=dict(Counter(name for _, name, _ in findings)),
        failures=failures,
    )


if __name__ == "__main__":
    cli.main(run)
