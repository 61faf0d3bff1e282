"""Generates a data set: trajectories of a solver, in shards, by groups of MPI ranks.

    mpirun -n 4 python -m pipeline.generate solver=heat run=runs/heat samples.train=256

Run again, it makes only what is missing or does not match its receipt.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from pipeline import cli, progress, records
from pipeline.data import store
from pipeline.data.files import digest, writable_folder
from pipeline.data.manifest import Manifest, receipt_path, write_paper
from pipeline.data.plan import Shard, generator, index
from pipeline.parallel import launch
from pipeline.parallel.groups import handed_out, serve, split_world
from pipeline.settings import Settings, build_solver
from pipeline.trajectories import ShardMaker
from solvers.contract import Solver

if TYPE_CHECKING:
    from mpi4py import MPI


def run(settings: Settings) -> None:
    """Makes the data set, or what is missing of it.

    Raises:
        ValueError: the ranks, the solver's options or the folder do not fit; the folder holds a data
            set of another configuration; or too many trajectories failed.
        OSError: the disk is full.
    """
    world = launch.world()
    solver = build_solver(settings.solver, split_world(world, settings.group_size))
    plan = _plan(settings, solver)
    with records.attempt(settings, "generate") as facts:
        if world.rank == 0:
            writable_folder(settings.dataset)
            store.claim(settings.dataset, plan, settings.start_anew)
        world.Barrier()
        missing = _missing(settings, plan, world)
        if not missing and world.bcast(world.rank == 0 and store.is_finished(settings.dataset, plan)):
            if world.rank == 0:
                print(f"generate: the data set in {settings.dataset} is complete; skipped", flush=True)
                facts["skipped"] = True
            return
        if world.rank == 0:
            store.reopen(settings.dataset, plan)
        world.Barrier()
        started = time.perf_counter()
        _make(settings, plan, solver, missing, world)
        seconds = time.perf_counter() - started
        counts = _counted(solver, world)
        if world.rank == 0:
            manifest = store.finish(settings.dataset, plan, settings.storage.max_failed_share)
            facts |= {
                "shards_made": len(missing),
                "trajectories": sum(shard.trajectories for shard in manifest.shards),
                "failed": len(manifest.failed),
                "groups": world.size // settings.group_size,
                "method": solver.method,
                "seconds": seconds,
                "core_seconds": sum(shard.core_seconds for shard in manifest.shards),
                "counts": counts,
            }
            print(
                f"generate: {facts['trajectories']} trajectories in {settings.dataset} "
                f"({len(missing)} of {len(plan.planned)} shards made now, {facts['failed']} failed)",
                flush=True,
            )


def _plan(settings: Settings, solver: Solver) -> Manifest:
    """The manifest before the work; it costs one draw of parameters."""
    configuration = settings.dataset_settings()
    configuration["code_version"] = importlib.metadata.version("simsurrogate")
    drawn = solver.sample(generator(settings.seed, index("train", 0)))
    scalars = {parameter.name for parameter in solver.spec.parameters}
    return Manifest(
        configuration=configuration,
        configuration_hash=digest(configuration),
        spec=json.loads(json.dumps(dataclasses.asdict(solver.spec))),
        method=solver.method,
        parameter_shapes={name: np.shape(value) for name, value in drawn.items() if name not in scalars},
    )


def _missing(settings: Settings, plan: Manifest, world: MPI.Intracomm) -> list[Shard]:
    """The shards that have to be made; the ranks read and check those that are there between them."""
    mine = [
        shard
        for shard in plan.planned[world.rank :: world.size]
        if store.verified_receipt(settings.dataset, plan, shard) is None
    ]
    missing = {shard for part in world.allgather(mine) for shard in part}
    return [shard for shard in plan.planned if shard in missing]


def _make(
    settings: Settings, plan: Manifest, solver: Solver, missing: list[Shard], world: MPI.Intracomm
) -> None:
    group = solver.communicator
    maker = ShardMaker(
        solver=solver,
        header=plan.header,
        folder=settings.dataset,
        configuration_hash=plan.configuration_hash,
        seed=settings.seed,
        tick=partial(serve, world),
    )
    if world.rank == 0:
        writable_folder(settings.dataset / "receipts")
    failed, allowed = 0, settings.storage.max_failed_share
    total = sum(shard.count for shard in missing)
    with progress.bar(None, "trajectories", rank=world.rank, total=total) as bar:
        for number in handed_out(len(missing), world, group):
            shard = missing[number]
            bar.update(sum(earlier.count for earlier in missing[:number]) - bar.n)
            receipt = maker.make(shard)
            if group.rank == 0:
                write_paper(receipt_path(settings.dataset, shard), receipt)
            failed += len(receipt.failed)
            if receipt.failed:
                store.refuse_failures(plan, failed, allowed, receipt.failed[0].reason)
        bar.update(total - bar.n)


def _counted(solver: Solver, world: MPI.Intracomm) -> dict[str, int]:
    """What all solvers counted, one rank of a group speaking for it; on rank 0 of the world."""
    leaders = solver.counts if solver.communicator.rank == 0 else {}
    parts = world.gather(leaders) or []
    names = {name: None for part in parts for name in part}
    return {name: sum(part.get(name, 0) for part in parts) for name in names}


if __name__ == "__main__":
    cli.main(run)
