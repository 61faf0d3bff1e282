"""The generate stage: trajectories of a solver, computed by groups of MPI ranks and stored in shards.

    mpirun -n 4 python -m pipeline.generate solver=heat run=runs/heat samples.train=256

A second run generates only the shards that are missing or do not match their receipts. `part=[2,8]`
generates the third of eight parts of the shards, next to other processes that generate the other parts. After
all parts, a run without `part=` finishes the data set.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import cli
from pipeline.coarsening.solver import coarsened
from pipeline.config import agreement, sizes, solver_checks
from pipeline.config.build import build_solver, dataset_configuration
from pipeline.config.quantities import with_quantities
from pipeline.config.settings import Settings
from pipeline.data import store
from pipeline.data.format.layout import schema_version
from pipeline.data.lineage.family import Family
from pipeline.data.manifest import Failure, Manifest, receipt_path, write_document
from pipeline.data.plan import Shard
from pipeline.generation.batched import solves_batches
from pipeline.generation.expected_error import estimate_errors
from pipeline.generation.rows import parameter_shapes
from pipeline.generation.shards import ShardMaker
from pipeline.parallel import groups, heartbeats, launch, stopping
from pipeline.parallel.equal_configurations import refuse_other_configurations
from pipeline.parallel.groups import dynamic_tasks, progress_mpi, split_world, wait_for_ranks
from pipeline.runs import lock, progress, records
from pipeline.runs.folder import RunFolder
from simsurrogate.files import digest, remove_partials, writable_folder
from solvers import waits
from solvers.contract import Solver

if TYPE_CHECKING:
    from mpi4py import MPI


def run(settings: Settings) -> None:
    """Generate the data set, or the shards that are missing from it.

    Raises:
        UserError: the ranks differ in their configuration; the number of ranks, the solver's options or the
            folder are unsuitable; the expected error is too large; the folder holds a data set of another
            configuration; or too many trajectories failed.
        StorageError: a shard cannot be written, for example on a full disk.
        LockedError: another run writes this data set, or this part of it.
        StoppedError: the process received SIGUSR1; finished shards and expected errors are kept, unfinished
            shards are dropped.
    """
    world = launch.world()
    refuse_other_configurations(settings.model_dump(mode="json"), world.allgather)
    agreement.report_unused_keys("generate")
    agreement.refuse_several_data_sets("generate", settings)
    folder = RunFolder.of(settings)
    own_solver = build_solver(settings.solver, split_world(world, settings.group_size))
    solver = coarsened(own_solver, settings.output.model_dump())
    sizes.check_data_set(settings, solver.spec)
    sizes.check_generation(
        settings, own_solver.spec, is_batched=solves_batches(solver), num_states=1 / settings.group_size
    )
    solver_checks.check_outside(solver, settings.samples.test_extrapolation)
    plan = _plan(settings, own_solver).model_copy(
        update={"spec": with_quantities(solver.spec, settings.quantities)}
    )
    part, num_parts = settings.part
    shards = plan.planned_shards[part::num_parts]
    with (
        heartbeats.watch(world),
        records.run_record("generate", folder, settings.model_dump(mode="json")) as metadata,
        _part_lock(folder, part, num_parts) if world.rank == 0 else nullcontext(),
        stopping.listen() as request,
    ):
        metadata.started(launch.ranks_on_nodes(world.allgather(launch.node_name())))
        plan = _with_expected_errors(settings, plan, own_solver, solver, world=world, request=request)
        if world.rank == 0:
            with lock.wait_for(folder.manifest_lock):
                plan = store.claim(folder.dataset, plan, settings.overwrite)
        world.Barrier()
        missing_shards = _missing_shards(folder.dataset, plan, shards, world)
        if not missing_shards and world.bcast(
            world.rank == 0 and (num_parts > 1 or store.is_finished(folder.dataset, plan))
        ):
            if world.rank == 0:
                scope = "the data set" if num_parts == 1 else f"part {part} of {num_parts} of the data set"
                print(f"generate: {scope} in {folder.dataset} is complete; skipped", flush=True)
                metadata["skipped"] = True
                next_stage = "validate" if num_parts == 1 else "generate"
                progress.report_output("generate", folder.dataset, next_stage, is_new=False)
            return
        if world.rank == 0:
            with lock.wait_for(folder.manifest_lock):
                store.reopen(folder.dataset, plan)
        world.Barrier()
        start_seconds = time.perf_counter()
        counts = _make_shards(
            settings,
            plan,
            solver,
            shards=shards,
            missing_shards=missing_shards,
            world=world,
            metadata=metadata,
            request=request,
        )
        metadata |= {
            "shards_made": len(missing_shards),
            "groups": world.size // settings.group_size,
            "method": solver.method,
            "seconds": time.perf_counter() - start_seconds,
            "counts": groups.sum_over_groups(counts, solver.communicator, world),
        }
        num_made = len(missing_shards)
        if world.rank == 0 and num_parts > 1:
            print(
                f"generate: part {part} of {num_parts}: {num_made} of {len(shards)} shards made now. "
                "After the last part, generate without part= (or --array) finishes the data set",
                flush=True,
            )
            progress.report_output("generate", folder.dataset, "generate")
        elif world.rank == 0:
            _finish_data_set(settings, plan, num_made, metadata)


def _part_lock(folder: RunFolder, part: int, num_parts: int) -> AbstractContextManager[None]:
    """Return the lock of a part; processes of the other parts can hold their locks at the same time."""
    return lock.hold(folder.part_lock(part, num_parts), folder.locks_of_other_partitions(num_parts))


def _with_expected_errors(
    settings: Settings,
    plan: Manifest,
    own_solver: Solver,
    solver: Solver,
    *,
    world: MPI.Intracomm,
    request: stopping.StopRequest,
) -> Manifest:
    """Return the plan with the expected errors of the data, after a check against `storage.max_error`.

    The first of several parts estimates the errors once. Later runs read the errors from the manifest. The
    errors are those of `own_solver` on its own grid, and `solver` has the stored frames.

    Raises:
        UserError: an expected error is too large, most frames are round-off, or the solver's options do not
            work with the duration.
        StoppedError: the process received SIGUSR1 before the last trajectory of the estimate.
    """
    errors = world.bcast(store.recorded_errors(settings.dataset, plan) if world.rank == 0 else None)
    if not errors and settings.part[0] == 0:
        errors = estimate_errors(settings, plan, own_solver, solver, world=world, request=request)
    return plan.model_copy(update={"expected_errors": errors})


def _finish_data_set(settings: Settings, plan: Manifest, num_made: int, metadata: records.Metadata) -> None:
    """Complete the data set and report its number of trajectories."""
    manifest = store.finish(settings.dataset, plan, settings.storage.max_failed_share)
    num_rejected = sum(failure.rejected for failure in manifest.failed)
    metadata |= {
        "trajectories": sum(shard.trajectories for shard in manifest.shards),
        "failed": len(manifest.failed) - num_rejected,
        "core_seconds": sum(shard.core_seconds for shard in manifest.shards),
    }
    print(
        f"generate: {metadata['trajectories']} trajectories in {settings.dataset} "
        f"({num_made} of {len(plan.planned_shards)} shards made now, {metadata['failed']} failed)",
        flush=True,
    )
    if method := manifest.origin.verified:
        counts = f"{metadata['trajectories']} of {metadata['trajectories'] + num_rejected} trajectories"
        print(f"generate: the verification kept {counts}: {method}", flush=True)
    for split, summary in manifest.predictability.items():
        print(
            f"generate: {split}: {summary.complete} of {summary.trajectories} trajectories are predictable "
            f"to the end, and all up to {summary.minimum:.3g} s",
            flush=True,
        )
    progress.report_output("generate", settings.dataset, "validate")


def _plan(settings: Settings, solver: Solver) -> Manifest:
    """Return the incomplete manifest of the fields on the solver's own grid."""
    configuration = dataset_configuration(settings, solver)
    return Manifest(
        configuration=configuration,
        configuration_hash=digest(configuration),
        spec=with_quantities(solver.spec, settings.quantities),
        schema_version=schema_version(solver.spec),
        method=solver.method,
        parameter_shapes=parameter_shapes(solver, settings.seed),
        ancestors=getattr(solver, "family", Family()),
    )


def _missing_shards(dataset: Path, plan: Manifest, shards: list[Shard], world: MPI.Intracomm) -> list[Shard]:
    """Return the shards without a verified receipt; each rank reads and verifies some of the shards."""
    own_missing_shards = [
        shard
        for shard in shards[world.rank :: world.size]
        if store.verified_receipt(dataset, plan, shard) is None
    ]
    wait_for_ranks(world)
    missing_shards = {shard for rank_shards in world.allgather(own_missing_shards) for shard in rank_shards}
    return [shard for shard in shards if shard in missing_shards]


def _make_shards(
    settings: Settings,
    plan: Manifest,
    solver: Solver,
    *,
    shards: list[Shard],
    missing_shards: list[Shard],
    world: MPI.Intracomm,
    metadata: records.Metadata,
    request: stopping.StopRequest,
) -> Mapping[str, int]:
    """Generate the missing shards of `shards`; return the counts of this rank's group.

    Raises:
        UserError: too many trajectories failed.
        StoppedError: the process received SIGUSR1.
    """
    group = solver.communicator
    if world.rank == 0:
        writable_folder(settings.dataset / "receipts")
        for split in {shard.split for shard in missing_shards}:
            names = [Path(shard.file).name for shard in missing_shards if shard.split == split]
            remove_partials(settings.dataset / "data" / split, names)
    failures, num_made, is_stopped = list[Failure](), 0, False
    num_missing, total = sum(shard.count for shard in missing_shards), sum(shard.count for shard in shards)
    num_existing = total - num_missing
    metadata.progress(num_existing, total, "trajectories")
    progress_hook = _make_progress_hook(world, group, request)
    with (
        progress.bar(None, "trajectories", rank=world.rank, total=num_missing) as bar,
        waits.during_waits(progress_hook),
    ):
        shard_maker = ShardMaker(
            solver=solver,
            header=plan.header,
            folder=settings.dataset,
            configuration_hash=plan.shard_hash,
            seed=settings.seed,
            progress_hook=progress_hook,
            origin=plan.origin,
        )
        for task in dynamic_tasks(len(missing_shards), world, group):
            if is_stopped:
                continue
            shard = missing_shards[task]
            num_earlier = sum(earlier_shard.count for earlier_shard in missing_shards[:task])
            bar.update(num_earlier - bar.n)
            metadata.progress(num_existing + num_earlier, total, "trajectories")
            try:
                receipt = shard_maker.make(shard)
            except stopping.StoppedError:
                is_stopped = True
                continue
            if group.rank == 0:
                write_document(receipt_path(settings.dataset, shard), receipt)
                num_made += shard.count
            failures += receipt.failed
            store.refuse_failures(plan, failures, settings.storage.max_failed_share)
        num_made = sum(world.allgather(num_made))
        bar.update(num_made - bar.n)
    metadata.progress(num_existing + num_made, total, "trajectories")
    if num_made < num_missing:
        raise stopping.StoppedError(
            f"{num_made} of {num_missing} missing trajectories were made, in finished shards of at most "
            f"{settings.samples.per_shard}. Run the same command again to continue"
        )
    return shard_maker.counts


def _make_progress_hook(
    world: MPI.Intracomm, group: MPI.Intracomm, request: stopping.StopRequest
) -> Callable[[], None]:
    """Return a function that answers MPI requests of other ranks, and raises if the group has to stop."""

    def hook() -> None:
        progress_mpi(world)
        if any(group.allgather(request.is_received)) if group.size > 1 else request.is_received:
            raise stopping.StoppedError("the shard is not finished")

    return hook


if __name__ == "__main__":
    cli.main(run)
