"""Generates a data set: trajectories of a solver, in shards, by groups of MPI ranks.

    mpirun -n 4 python -m pipeline.generate solver=heat run=runs/heat samples.train=256

Run again, it makes only what is missing or does not match its receipt. `part=[2,8]` makes one of eight
shares of the shards, beside the others; when all are there, a run without it finishes the data set.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import numpy as np

from pipeline import cli
from pipeline.config.build import build_solver, effective
from pipeline.config.settings import Settings
from pipeline.data import store
from pipeline.data.format.layout import schema_version
from pipeline.data.manifest import Manifest, receipt_path, write_document
from pipeline.data.plan import Shard, generator, index
from pipeline.generation.shards import ShardMaker
from pipeline.parallel import launch, stopping
from pipeline.parallel.groups import dynamic_tasks, progress_mpi, split_world
from pipeline.runs import lock, progress, records
from pipeline.runs.folder import RunFolder
from simsurrogate.files import digest, writable_folder
from solvers.contract import Solver

if TYPE_CHECKING:
    from mpi4py import MPI


def run(settings: Settings) -> None:
    """Makes the data set, or what is missing of it.

    Raises:
        UserError: the ranks, the solver's options or the folder do not fit; the folder holds a data
            set of another configuration; or too many trajectories failed.
        OSError: the disk is full.
        LockedError: another run writes this data set, or this part of it.
        StoppedError: SIGUSR1 came; whole shards are kept, begun ones dropped.
    """
    world = launch.world()
    settings = effective(settings)
    solver = build_solver(settings.solver, split_world(world, settings.group_size))
    plan = _plan(settings, solver)
    part, num_parts = settings.part
    shards = plan.planned[part::num_parts]
    with records.run_record(settings, "generate") as facts, _alone(settings, world):
        facts["nodes"] = launch.ranks_on_nodes(world.allgather(launch.node_name()))
        if world.rank == 0:
            with lock.waited_for(RunFolder.of(settings).manifest_lock):
                store.claim(settings.dataset, plan, settings.start_anew)
        world.Barrier()
        missing = _missing(settings, plan, shards, world)
        if not missing and world.bcast(
            world.rank == 0 and (num_parts > 1 or store.is_finished(settings.dataset, plan))
        ):
            if world.rank == 0:
                what = "the data set" if num_parts == 1 else f"part {part} of {num_parts} of the data set"
                print(f"generate: {what} in {settings.dataset} is complete; skipped", flush=True)
                facts["skipped"] = True
            return
        if world.rank == 0:
            with lock.waited_for(RunFolder.of(settings).manifest_lock):
                store.reopen(settings.dataset, plan)
        world.Barrier()
        started = time.perf_counter()
        counts = _make(settings, plan, solver, shards=shards, missing=missing, world=world, facts=facts)
        facts |= {
            "shards_made": len(missing),
            "groups": world.size // settings.group_size,
            "method": solver.method,
            "seconds": time.perf_counter() - started,
            "counts": _sum_of_groups(counts, solver, world),
        }
        if world.rank == 0 and num_parts > 1:
            print(
                f"generate: part {part} of {num_parts}: {len(missing)} of {len(shards)} shards made now; "
                "when all are, generate without part= or --array finishes the data set, as a chain does",
                flush=True,
            )
        elif world.rank == 0:
            _finish(settings, plan, len(missing), facts)


def _alone(settings: Settings, world: MPI.Intracomm) -> AbstractContextManager[None]:
    """On rank 0 the lock of this run's part, which runs of other parts do not hinder."""
    if world.rank != 0:
        return nullcontext()
    part, num_parts = settings.part
    writable_folder(settings.dataset)
    folder = RunFolder.of(settings)
    return lock.held(folder.part_lock(part, num_parts), folder.locks_of_other_partitions(num_parts))


def _finish(settings: Settings, plan: Manifest, num_made: int, facts: records.Metadata) -> None:
    manifest = store.finish(settings.dataset, plan, settings.storage.max_failed_share)
    facts |= {
        "trajectories": sum(shard.trajectories for shard in manifest.shards),
        "failed": len(manifest.failed),
        "core_seconds": sum(shard.core_seconds for shard in manifest.shards),
    }
    print(
        f"generate: {facts['trajectories']} trajectories in {settings.dataset} "
        f"({num_made} of {len(plan.planned)} shards made now, {facts['failed']} failed)",
        flush=True,
    )
    progress.report_output("generate", settings.dataset, "validate")


def _plan(settings: Settings, solver: Solver) -> Manifest:
    """The manifest before the work; it costs one draw of parameters."""
    configuration = settings.dataset_settings()
    drawn = solver.sample(generator(settings.seed, index("train", 0)))
    scalars = set(solver.spec.parameter_names)
    return Manifest(
        configuration=configuration,
        configuration_hash=digest(configuration),
        spec=solver.spec,
        schema_version=schema_version(solver.spec),
        method=solver.method,
        parameter_shapes={name: np.shape(value) for name, value in drawn.items() if name not in scalars},
    )


def _missing(settings: Settings, plan: Manifest, shards: list[Shard], world: MPI.Intracomm) -> list[Shard]:
    """Those of the shards that have to be made; the ranks read and check the others between them."""
    mine = [
        shard
        for shard in shards[world.rank :: world.size]
        if store.verified_receipt(settings.dataset, plan, shard) is None
    ]
    missing = {shard for part in world.allgather(mine) for shard in part}
    return [shard for shard in shards if shard in missing]


def _make(
    settings: Settings,
    plan: Manifest,
    solver: Solver,
    *,
    shards: list[Shard],
    missing: list[Shard],
    world: MPI.Intracomm,
    facts: records.Metadata,
) -> Mapping[str, int]:
    """Make the missing ones of these shards; return the counts of this rank's group."""
    group = solver.communicator
    if world.rank == 0:
        writable_folder(settings.dataset / "receipts")
    failed, allowed = 0, settings.storage.max_failed_share
    to_make, total = sum(shard.count for shard in missing), sum(shard.count for shard in shards)
    facts.progress(total - to_make, total, "trajectories")
    made, stopped = 0, False
    with (
        stopping.listening() as request,
        progress.bar(None, "trajectories", rank=world.rank, total=to_make) as bar,
    ):
        maker = ShardMaker(
            solver=solver,
            header=plan.header,
            folder=settings.dataset,
            configuration_hash=plan.configuration_hash,
            seed=settings.seed,
            tick=_tick(world, group, request),
        )
        for number in dynamic_tasks(len(missing), world, group):
            if stopped:
                continue
            before = sum(earlier.count for earlier in missing[:number])
            bar.update(before - bar.n)
            facts.progress(total - to_make + before, total, "trajectories")
            try:
                receipt = maker.make(missing[number])
            except stopping.StoppedError:
                stopped = True
                continue
            if group.rank == 0:
                write_document(receipt_path(settings.dataset, missing[number]), receipt)
                made += missing[number].count
            failed += len(receipt.failed)
            if receipt.failed:
                store.refuse_failures(plan, failed, allowed, receipt.failed[0].reason)
        made = sum(world.allgather(made))
        bar.update(made - bar.n)
    facts.progress(total - to_make + made, total, "trajectories")
    if made < to_make:
        raise stopping.StoppedError(
            f"{made} of {to_make} missing trajectories were made, in whole shards of at most "
            f"{settings.samples.per_shard}; run it again to go on"
        )
    return maker.counts


def _tick(world: MPI.Intracomm, group: MPI.Intracomm, request: stopping.StopRequest) -> Callable[[], None]:
    """Serves other ranks, and ends the work of the whole group once one of its ranks was asked to stop."""

    def tick() -> None:
        progress_mpi(world)
        if any(group.allgather(request.received)) if group.size > 1 else request.received:
            raise stopping.StoppedError("a shard was begun")

    return tick


def _sum_of_groups(counts: Mapping[str, int], solver: Solver, world: MPI.Intracomm) -> dict[str, int]:
    """The counts of all groups, one rank of a group speaking for it; on rank 0 of the world."""
    parts = world.gather(dict(counts) if solver.communicator.rank == 0 else {}) or []
    names = {name: None for part in parts for name in part}
    return {name: sum(part.get(name, 0) for part in parts) for name in names}


if __name__ == "__main__":
    cli.main(run)
