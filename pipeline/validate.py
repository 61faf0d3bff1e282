"""The validate stage: checks of a data set. Training refuses a data set that has not passed.

    python -m pipeline.validate run=runs/heat          # or under mpirun: each rank checks some of the shards

Every run reads every byte, so a run also detects damage that happened after the generation. The start of
every trajectory is drawn again, and two random trajectories are computed again. Both are compared bit by bit.
`pipeline.physics_checks` compares the stored frames with the equation, and states the error of the data.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline import cli
from pipeline.config import agreement
from pipeline.config.settings import Settings
from pipeline.data.accuracy import SelfStatedError
from pipeline.data.card import checks_section
from pipeline.data.card import stated_error as stated_error_section
from pipeline.data.checks import integrity
from pipeline.data.checks.content import share_of_gaps
from pipeline.data.checks.data_checks import compared_rows
from pipeline.data.checks.result import CheckResult
from pipeline.data.checks.shard_under_test import ShardUnderTest
from pipeline.data.checks.trajectories.overlaps import Queries, Search
from pipeline.data.checks.trajectories.row_table import RowTable
from pipeline.data.format.structure import Structures
from pipeline.data.manifest import Manifest, ManifestShard, read_complete_manifest, write_document
from pipeline.data.plan import Shard
from pipeline.data.recorded_configuration import making_stage
from pipeline.data.validation import is_failed, validation_of
from pipeline.parallel import heartbeats, launch
from pipeline.parallel.equal_configurations import refuse_other_configurations
from pipeline.parallel.groups import wait_for_ranks
from pipeline.physics_checks.data_solver import solver_of
from pipeline.physics_checks.results import results_after_failure, self_stated_error, solver_results
from pipeline.runs import progress, records
from pipeline.runs.folder import RunFolder
from simsurrogate.errors import UserError
from simsurrogate.files import (
    FileIdentity,
    file_identity,
    is_read_only,
    remove_partials,
    sha256_of,
)

if TYPE_CHECKING:
    from mpi4py import MPI


def run(settings: Settings) -> None:
    """Check the data set and write `validation.json` next to its manifest.

    The folder of a data set that this process may not write stays unchanged, and the validation is written to
    the run folder.

    Raises:
        UserError: the data set is not complete or fails a check; the message names each failed check.
    """
    world = launch.world()
    refuse_other_configurations(settings.model_dump(mode="json"), world.allgather)
    run_folder = RunFolder.of(settings)
    folder = run_folder.dataset
    agreement.report_unused_keys("validate")
    agreement.refuse_several_data_sets("validate", settings)
    manifest = read_complete_manifest(folder)
    agreement.refuse_other_data(settings, folder, manifest.configuration, compares_seed=True)
    used_settings = settings.with_data_of(manifest.configuration) | {"seed": manifest.configuration["seed"]}
    with (
        heartbeats.watch(world),
        records.run_record("validate", run_folder, used_settings) as metadata,
    ):
        validation_path = _validation_path(run_folder) if world.rank == 0 else None
        if validation_path:
            remove_partials(validation_path.parent, ["validation.json"])
        # Before the checks, so that a later change of a file is noticed.
        files = _file_identities(folder, manifest) if world.rank == 0 else {}
        world.Barrier()
        structures = Structures(manifest.header)
        checked_shards = CheckedShards(folder, manifest, structures, _linked_checksums(manifest, world))
        own_results, tables = checked_shards.results(world)
        wait_for_ranks(world)
        table = RowTable.joined(tables)
        search = checked_shards.search(table, world)
        physics_results, stated_error = _physics(
            settings, folder, manifest, structures, has_failed=_has_failed(own_results, world), world=world
        )
        own_results += physics_results
        results_by_rank = world.gather(own_results)
        if results_by_rank is None:
            return
        results = [result for rank_results in results_by_rank for result in rank_results]
        results += [
            CheckResult.of_mistake(check, str(folder), mistake)
            for check, mistake in integrity.check_data_set(folder, manifest)
        ]
        results += compared_rows(str(folder), manifest, table, search)
        validation = validation_of(manifest, results, files, stated_error)
        if validation_path:
            write_document(validation_path, validation)
            if validation_path.parent == folder:
                checks_section.write(folder, manifest, validation, table)
                if stated_error:
                    stated_error_section.write(folder / "README.md", manifest, stated_error)
            result_in_run_folder = run_folder.validations[1]
            if validation_path != result_in_run_folder:
                # It is from a time when the data set was not writable.
                result_in_run_folder.unlink(missing_ok=True)
        if stated_error:
            share = f"{100 * stated_error.relative_cost:.2g} %"
            print(f"validate: the more accurate solutions cost {share} of the generation", flush=True)
        metadata |= {"checks": validation.checks, "failures": len(validation.failures)}
        _report(results)
        if validation.outcome == "failed":
            raise UserError(
                f"the data set in {folder} failed its validation:\n"
                + "\n".join(validation.failures)
                + "\nEvery check has to pass. Type the command of python -m "
                f"pipeline.{making_stage(manifest.configuration)} again to "
                "regenerate only these shards"
            )
        print(f"validate: {folder} passed {sum(validation.checks.values())} checks", flush=True)
        if validation_path:
            progress.report_output("validate", validation_path, "train")


def _physics(
    settings: Settings,
    folder: Path,
    manifest: Manifest,
    structures: Structures,
    *,
    has_failed: bool,
    world: MPI.Intracomm,
) -> tuple[list[CheckResult], SelfStatedError | None]:
    """Return this rank's results of the checks of the physics, and the self-stated error.

    `has_failed` says that a check of a shard has failed, so no frame is compared.
    """
    if has_failed:
        return results_after_failure(folder) if world.rank == 0 else [], None
    data_solver = solver_of(settings, manifest)
    results = solver_results(settings, folder, manifest, structures, data_solver=data_solver, world=world)
    wait_for_ranks(world)
    stated_error = self_stated_error(
        settings,
        folder,
        manifest,
        structures,
        data_solver=data_solver,
        has_failed=_has_failed(results, world),
        world=world,
    )
    if isinstance(stated_error, SelfStatedError):
        return results, stated_error
    return results + [stated_error] * (world.rank == 0), None


def _validation_path(run_folder: RunFolder) -> Path | None:
    """Return the path of the validation: in the data set or, if it is not writable, in the run folder.

    The result is None, with a note, if this process may write neither folder.
    """
    for path in run_folder.validations:
        if not is_read_only(path.parent):
            return path
    print(
        f"note: {run_folder.dataset} and {run_folder.path} are not writable, so the validation is not "
        "stored. A run folder of your own stores it. Type run=FOLDER",
        file=sys.stderr,
        flush=True,
    )
    return None


@dataclass(frozen=True)
class CheckedShards:
    """The shards of a data set, of which each rank checks some."""

    folder: Path
    manifest: Manifest
    structures: Structures
    linked_checksums: dict[str, str]

    @cached_property
    def _planned(self) -> list[Shard]:
        return self.manifest.planned_shards

    @cached_property
    def _entries(self) -> dict[str, ManifestShard]:
        return {entry.file: entry for entry in self.manifest.shards}

    def results(self, world: MPI.Intracomm) -> tuple[list[CheckResult], list[RowTable]]:
        """Return the results of the checks of this rank's shards, and on rank 0 the tables of all rows."""
        results: list[CheckResult] = []
        tables: list[RowTable] = []
        own_positions = range(world.rank, len(self._planned), world.size)
        for position in progress.bar(own_positions, "shards", rank=world.rank):
            shard_under_test = self.under_test(position)
            file = shard_under_test.shard.file
            shard_results = [
                CheckResult.of_mistake(check, file, mistake)
                for check, mistake in integrity.check_shard(shard_under_test)
            ]
            if shard_under_test.entry and shard_under_test.paths_with_gaps:
                shares = share_of_gaps(shard_under_test)
                shard_results.append(CheckResult("gaps", file, "passed", numbers=shares))
            results += shard_results
            if shard_under_test.entry and not any(map(is_failed, shard_results)):
                tables.append(RowTable.of(shard_under_test, position))
        wait_for_ranks(world)
        gathered = world.gather(tables)
        return results, [table for tables in gathered or [] for table in tables]

    def search(self, table: RowTable | None, world: MPI.Intracomm) -> Search | None:
        """Return on rank 0 the search for the first windows of `table` in all shards that are in it."""
        known = (Queries.of(table), np.unique(table.shard).tolist()) if table else (None, [])
        wait_for_ranks(world)
        queries, positions = world.bcast(known, root=0)
        if queries is None:
            return None
        search = Search.of(queries)
        for position in progress.bar(positions[world.rank :: world.size], "shards", rank=world.rank):
            search.add(self.under_test(position))
        wait_for_ranks(world)
        for other in (world.gather(search) or [])[1:]:
            search.merge(other)
        return search

    def under_test(self, position: int) -> ShardUnderTest:
        """Return the shard at a position in the plan, for its checks."""
        shard = self._planned[position]
        return ShardUnderTest(
            self.folder,
            self.manifest,
            shard,
            self._entries.get(shard.file),
            self.structures,
            self.linked_checksums,
        )


def _report(results: Sequence[CheckResult]) -> None:
    """Print warnings to stderr, and the checks that do not apply with their reasons."""
    for result in results:
        if result.outcome == "warning":
            print(f"warning: {result.check}: {result.message}", file=sys.stderr, flush=True)
    gaps = [max(result.numbers.values()) for result in results if result.check == "gaps"]
    if gaps:
        print(f"validate: declared gaps take up to {max(gaps):.1%} of the values of a field", flush=True)
    checks_by_reason: dict[str, dict[str, None]] = {}
    for result in results:
        if result.outcome == "not applicable":
            checks_by_reason.setdefault(result.message, {})[result.check] = None
    for reason, checks in checks_by_reason.items():
        print(f"not applicable: {', '.join(checks)}: {reason}", flush=True)


def _linked_checksums(manifest: Manifest, world: MPI.Intracomm) -> dict[str, str]:
    """Return the checksum of each linked file by its path; the ranks share the files.

    A file that is missing or has changed is left out, and is an error of its shards later.
    """
    files = {link.path: link for links in manifest.links.values() for link in links}
    own_checksums = {}
    for link in list(files.values())[world.rank :: world.size]:
        with suppress(UserError):
            own_checksums[link.path] = sha256_of(link.checked_path)
    return {path: checksum for part in world.allgather(own_checksums) for path, checksum in part.items()}


def _file_identities(folder: Path, manifest: Manifest) -> dict[str, FileIdentity]:
    """Return the identity of the file of each shard that has one."""
    paths = {shard.file: folder / shard.file for shard in manifest.shards}
    return {file: file_identity(path) for file, path in paths.items() if path.exists()}


def _has_failed(results: Sequence[CheckResult], world: MPI.Intracomm) -> bool:
    """Return whether a check of any rank has failed."""
    return any(world.allgather(any(map(is_failed, results))))


if __name__ == "__main__":
    cli.main(run)
