"""The adopt stage: a data set out of files that exist, read in place or copied, with the user's description.

    python -m pipeline.adopt source=FILES run=runs/mine format=npy description=adopt.yaml

Under mpirun each rank makes some of the shards. A second run makes only the shards that are missing or do not
match their receipts. The files are read in a process with limits, and never changed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import cli
from pipeline.adoption import description as descriptions
from pipeline.adoption.description import Description
from pipeline.adoption.placement import Choices, Placement, placement_of
from pipeline.adoption.reader_process import ReaderProcess, open_process
from pipeline.adoption.shards import ShardCopier
from pipeline.adoption.source import Source
from pipeline.adoption.specification import Specification, specification
from pipeline.adoption.splits import divided
from pipeline.config import agreement, overrides, sizes
from pipeline.config.quantities import with_quantities
from pipeline.config.settings import Settings
from pipeline.data import store
from pipeline.data.format.layout import schema_version
from pipeline.data.manifest import Failure, Manifest, read_document, receipt_path, write_document
from pipeline.data.origin import UNKNOWN, Origin
from pipeline.data.plan import SPLITS, Shard, recorded_samples
from pipeline.data.recorded_configuration import NO_SOLVER, has_gaps, is_adopted
from pipeline.parallel import heartbeats, launch
from pipeline.parallel.equal_configurations import refuse_other_configurations
from pipeline.parallel.groups import wait_for_ranks
from pipeline.runs import lock, progress, records
from pipeline.runs.folder import RunFolder
from simsurrogate.errors import UserError
from simsurrogate.files import digest, remove_partials, writable_folder

if TYPE_CHECKING:
    from mpi4py import MPI


@dataclass(frozen=True)
class _Plan:
    """The manifest of the data set without shards, the origin and place of its fields, and its splits."""

    manifest: Manifest
    specification: Specification
    splits: dict[str, np.ndarray]
    placement: Placement


def run(settings: Settings) -> None:
    """Make the data set of a source, or the shards that are missing from it.

    Raises:
        UserError: the files have no known layout, are hostile or disagree; the description lacks facts or
            does not fit; the folder holds another data set; or too many trajectories are not finite.
        StorageError: a shard cannot be written, for example on a full disk.
        LockedError: another run writes this data set.
    """
    world = launch.world()
    refuse_other_configurations(settings.model_dump(mode="json"), world.allgather)
    agreement.report_unused_keys("adopt")
    agreement.refuse_several_data_sets("adopt", settings)
    if settings.source is None:
        raise UserError("adopt needs files. A file or a folder of files is allowed. Type source=PATH")
    _refuse_overlap(settings.source, settings.run, settings.dataset)
    folder = RunFolder.of(settings)
    description = descriptions.read(settings.description)
    if description.gaps and settings.quantities:
        raise UserError(
            "quantities= reduces fields over a region, and gaps: true declares missing values in them. Data "
            "with gaps have no quantities of interest. Leave out quantities="
        )
    with (
        heartbeats.watch(world),
        records.run_record("adopt", folder, settings.model_dump(mode="json")) as metadata,
        lock.hold(folder.part_lock(0, 1), folder.locks_of_other_partitions(1))
        if world.rank == 0
        else nullcontext(),
    ):
        metadata.started(launch.ranks_on_nodes(world.allgather(launch.node_name())))
        source = Source.of(settings.source, world.rank, world.size, world.allgather)
        refuse_other_configurations({"source": source.sha256}, world.allgather)
        with open_process(source.path, settings.format, description, source.num_bytes) as reader:
            plan = _plan(settings, source, description, reader)
            if not plan.manifest.links:
                sizes.check_data_set(_settings_of(settings, plan.manifest), plan.manifest.spec)
            if world.rank == 0:
                with lock.wait_for(folder.manifest_lock):
                    overwrite = settings.overwrite or _is_unfinished(folder.dataset)
                    store.claim(folder.dataset, plan.manifest, overwrite)
            world.Barrier()
            num_made = _make_shards(settings, plan, reader, world)
        source.refuse_changes()
        is_new = num_made > 0 or not store.is_finished(folder.dataset, plan.manifest)
        world.Barrier()
        metadata |= {"layout": reader.contents.layout, "source": str(source.path), "skipped": not is_new}
        if world.rank == 0:
            _finish(settings, plan, reader, num_made, is_new)


def _is_unfinished(dataset: Path) -> bool:
    """Return whether the folder holds an adoption that failed or was interrupted: its source has it all."""
    with suppress(UserError):
        manifest = read_document(dataset / "manifest.json", Manifest)
        return is_adopted(manifest.configuration) and not manifest.complete
    return False


def _refuse_overlap(source: Path, run: Path, dataset: Path) -> None:
    """Refuse a source in the data set that is written, and a run folder in the source."""
    source = source.resolve()
    for key, folder in (("run", run.resolve()), ("dataset", dataset.resolve())):
        is_inside_source = source == folder or source in folder.parents
        if is_inside_source or (key == "dataset" and folder in source.parents):
            raise UserError(
                f"{key}={folder} and source={source} overlap. A source stays as it is, so the data set lies "
                f"outside of it. Type another folder, for example run=runs/{source.stem}"
                + ("-adopted" if folder.name == source.stem else "")
            )


def _settings_of(settings: Settings, manifest: Manifest) -> Settings:
    """Return the settings with the numbers of trajectories and frames of an adopted data set."""
    samples = settings.samples.model_copy(update=manifest.configuration["samples"])
    output = settings.output.model_copy(update=manifest.configuration["output"])
    storage = settings.storage.model_copy(update=manifest.configuration["storage"])
    return settings.model_copy(update={"samples": samples, "output": output, "storage": storage})


def _plan(settings: Settings, source: Source, description: Description, reader: ReaderProcess) -> _Plan:
    """Return the plan of the data set, from the contents of the files and the description."""
    contents = reader.contents
    splits = divided(contents, description, settings.seed)
    inside = np.concatenate([items for split, items in splits.items() if split != "test_extrapolation"])
    facts = specification(contents, description, source.path.stem, inside)
    precision = settings.storage.precision if agreement.is_typed("storage.precision") else facts.precision
    choices = Choices(precision, settings.samples.per_shard, description)
    placement = placement_of(source, contents, facts, splits, choices)
    is_linked = bool(placement.links)
    configuration = settings.dataset_settings() | {
        "solver": {"name": NO_SOLVER},
        "samples": recorded_samples({split: len(splits.get(split, ())) for split in SPLITS})
        | {"per_shard": placement.per_shard},
        "output": {"duration": float(facts.times[-1]), "steps": len(facts.times) - 1},
        "storage": {"precision": precision},
        "adopted": {
            # The shards of linked files hold the paths of the files.
            "source": str(source.path) if is_linked else source.path.name,
            "is_linked": is_linked,
            "sha256": source.sha256,
            "layout": contents.layout,
            "arrays": sorted(contents.arrays),
            "first_time": float(facts.source_times[0]),
            # The origin is not among the keys that determine the bytes, so it can be declared later.
            "description": description.model_dump(mode="json", exclude_defaults=True, exclude={"origin"}),
        },
    }
    spec = with_quantities(facts.spec, settings.quantities)
    manifest = Manifest(
        configuration=configuration,
        configuration_hash=digest(configuration),
        spec=spec,
        schema_version=schema_version(spec),
        method=f"adopted from {contents.layout}",
        parameter_shapes=contents.arrays,
        links=placement.links,
        declared_origin=_declared_origin(settings, description) or _recorded_origin(settings, configuration),
    )
    return _Plan(manifest, facts, splits, placement)


def _declared_origin(settings: Settings, description: Description) -> Origin | None:
    """Return the origin that the command line declares, or else the description.

    A solver of the command line, with which validate compares the trajectories, is their origin.

    Raises:
        UserError: a declaration is not complete.
    """
    origin = settings.origin.origin or description.origin.origin
    if origin is None and agreement.is_typed("solver"):
        return Origin(kind="solver", name=str(settings.solver["name"]))
    return origin


def _recorded_origin(settings: Settings, configuration: Mapping[str, Any]) -> Origin | None:
    """Return the origin that an earlier command declared for the same files, if any."""
    with suppress(UserError, OSError):
        manifest = read_document(settings.dataset / "manifest.json", Manifest)
        return manifest.declared_origin if manifest.configuration == configuration else None
    return None


def _make_shards(settings: Settings, plan: _Plan, reader: ReaderProcess, world: MPI.Intracomm) -> int:
    """Make the missing shards; each rank makes some of them. Return the number of made shards."""
    dataset, manifest = settings.dataset, plan.manifest
    missing = [
        shard for shard in manifest.planned_shards if store.verified_receipt(dataset, manifest, shard) is None
    ]
    world.Barrier()
    if world.rank == 0 and missing:
        store.reopen(dataset, manifest)
        writable_folder(dataset / "receipts")
        for split in {shard.split for shard in missing}:
            remove_partials(dataset / "data" / split, [Path(item.file).name for item in missing])
    world.Barrier()
    copier = ShardCopier(
        reader,
        plan.specification,
        manifest.header,
        dataset,
        manifest.shard_hash,
        plan.splits,
        has_gaps(manifest.configuration),
    )
    own_shards: list[Shard] = missing[world.rank :: world.size]
    failures: list[Failure] = []
    for shard in progress.bar(own_shards, "shards", rank=world.rank):
        receipt = copier.make(shard)
        write_document(receipt_path(dataset, shard), receipt)
        failures += receipt.failed
        store.refuse_failures(manifest, failures, settings.storage.max_failed_share)
    wait_for_ranks(world)
    return len(missing)


def _finish(settings: Settings, plan: _Plan, reader: ReaderProcess, num_made: int, is_new: bool) -> None:
    """Complete the data set, and report what was found and done."""
    dataset = settings.dataset
    if not is_new:
        print(f"adopt: the data set in {dataset} is complete; skipped", flush=True)
        progress.report_output("adopt", dataset, "validate", _next_arguments(settings), is_new=False)
        return
    manifest = store.finish(dataset, plan.manifest, settings.storage.max_failed_share)
    reason = plan.placement.reason_to_copy
    for note in [*plan.specification.notes, *([f"the files are copied, because {reason}"] if reason else [])]:
        print(f"note: {note}", file=sys.stderr, flush=True)
    counts = ", ".join(f"{len(items)} {split}" for split, items in plan.splits.items())
    verb = "copied into" if not manifest.links else "read in place, without a copy, by"
    print(
        f"adopt: {reader.contents.layout}: {counts} trajectories {verb} {num_made} of "
        f"{len(plan.manifest.planned_shards)} shards ({len(manifest.failed)} trajectories left out); the "
        f"source is unchanged\n{manifest.spec.summary}, {len(manifest.header.times)} frames to "
        f"{manifest.header.times[-1]:g} s, {manifest.configuration['storage']['precision']}\n"
        f"origin: {manifest.origin.text}",
        flush=True,
    )
    if manifest.origin == UNKNOWN:
        print(
            "note: train refuses data of unknown origin. Measurements and solutions are accepted. Type the "
            "same command with origin.kind=measurement origin.source=NAME, or origin.kind=solver "
            "origin.name=NAME",
            file=sys.stderr,
            flush=True,
        )
    progress.report_output("adopt", dataset, "validate", _next_arguments(settings))


def _next_arguments(settings: Settings) -> list[str]:
    """Return the arguments of the next stage, without those of this stage."""
    has_own_folder = settings.dataset != settings.run / "dataset"
    arguments = [overrides.typed("run", settings.run)]
    return [*arguments, *([overrides.typed("dataset", settings.dataset)] if has_own_folder else [])]


if __name__ == "__main__":
    cli.main(run)
