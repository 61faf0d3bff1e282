"""The self-stated error of a data set: a sample of its trajectories, solved again more accurately.

Two more solutions of each trajectory of the sample separate the errors of the stored frames u:

    error in time  = |u - u_t|,      u_t with the solver's own grid, and a tenth of the tolerance
    error in space = |u_t - u_r|,    u_r with the solver's reference setting: a finer grid as well

Both are multiplied by the known factors of the remaining errors: r^p / (r^p - 1) for a grid finer by the
ratio r and a scheme of order p, and 10 / 9 for a tenth of the tolerance (Richardson). The error of particles
is that of the steps in time alone.

Shape letters: B trajectories, T frames, C channels, F fields; `*sites` as in the spec.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from pipeline.config.build import build_recorded_solver
from pipeline.data.accuracy import ErrorOverTime, FieldError, SelfStatedError
from pipeline.data.format.layout import PREDICTABLE_TIME
from pipeline.data.format.structure import Structures
from pipeline.data.manifest import Manifest, receipts_of
from pipeline.data.plan import Split
from pipeline.data.statistics import statistics_of
from pipeline.parallel.groups import wait_for_ranks
from pipeline.physics_checks.stored_rows import NotApplicableError, Row, order_of, rows_of
from pipeline.runs import progress
from simsurrogate.errors import UserError
from simsurrogate.relative_l2 import norm_floor
from solvers.contract import DivergedError, Setting, Solver

if TYPE_CHECKING:
    from mpi4py import MPI

#: The splits of the sample: `train` stands for all splits that are drawn like it.
SAMPLED_SPLITS: tuple[Split, ...] = ("train", "test_extrapolation")

#: The largest number of trajectories of each split in the sample.
NUM_TRAJECTORIES = 3

#: The largest cost of the sample over that of the generation, if it has more than one trajectory of a split.
MAX_COST_SHARE = 0.1

#: The factor of the tolerance in the second solution.
TOLERANCE_FACTOR = 0.1


@dataclass(frozen=True)
class References:
    """The more accurate solutions of a solver.

    Attributes:
        accurate: the solver with its own grid and a smaller error in time, or None.
        is_exact: whether the steps in time have no error.
        accurate_factor: the error in time over the difference of both solutions.
        time: the description of the error in time, or the reason why it is not stated.
        reference: the setting with a finer grid, or None.
        reference_factor: the error in space over the difference of both solutions.
        space: the description of the error in space, or the reason why it is not stated.
    """

    accurate: Solver | None
    is_exact: bool
    accurate_factor: float
    time: str
    reference: Setting | None
    reference_factor: float
    space: str


def references_of(
    solver: Solver, configuration: Mapping[str, Any], solver_options: Mapping[str, Any]
) -> References:
    """Return the more accurate solutions of the solver of a data set, which has its stored frames.

    `configuration` is that of the manifest, and `solver_options` the section `solver` of the command line.
    """
    own_solver: Solver = getattr(solver, "fine", solver)
    reference = solver.reference_setting()
    no_reference = f"the solver {own_solver.spec.name} has no method reference_setting"
    if own_solver.spec.has_particles:
        accurate = reference.solver if reference else None
        words = f"compared with {reference.name}" if reference else no_reference
        return References(accurate, False, 1.0, words, None, 1.0, "particles have no grid")
    is_exact = math.isinf(order_of(own_solver, "time"))
    accurate, factor, words = None, 1.0, "the scheme is exact in time"
    if not is_exact:
        accurate, factor, words = _accurate_in_time(solver, own_solver, configuration, solver_options)
    if reference is None:
        return References(accurate, is_exact, factor, words, None, 1.0, no_reference)
    sizes = [spec.shape for spec in (reference.solver.spec, own_solver.spec)]
    ratio = (math.prod(sizes[0]) / math.prod(sizes[1])) ** (1 / len(sizes[1]))
    order = order_of(own_solver, "space")
    if ratio <= 1:
        return References(accurate, is_exact, factor, words, None, 1.0, "a finer grid has too many cells")
    order_factor = ratio**order / (ratio**order - 1) if math.isfinite(order) else 1.0
    space = f"compared with {reference.name}"
    return References(accurate, is_exact, factor, words, reference, order_factor, space)


def _accurate_in_time(
    solver: Solver, own_solver: Solver, configuration: Mapping[str, Any], solver_options: Mapping[str, Any]
) -> tuple[Solver | None, float, str]:
    """Return the solver with a smaller error in time, the factor of the difference, and a description."""
    options = dict(configuration["solver"])
    if options.get("time_step") is not None:
        order = order_of(own_solver, "time")
        order = order if math.isfinite(order) else 1.0
        changed = {"time_step": options["time_step"] / 2}
        factor, words = 2**order / (2**order - 1), f"compared with steps of {changed['time_step']:g} s"
    elif options.get("tolerance") is not None:
        changed = {"tolerance": options["tolerance"] * TOLERANCE_FACTOR}
        factor = 1 / (1 - TOLERANCE_FACTOR)
        words = f"compared with a tolerance of {changed['tolerance']:g}"
    else:
        return None, 1.0, f"the solver {own_solver.spec.name} has neither a time_step nor a tolerance"
    try:
        accurate = build_recorded_solver(
            {**configuration, "solver": options | changed}, solver_options, solver.communicator
        )
    except UserError as error:
        return None, 1.0, f"the solver refuses shorter steps: {error}"
    return accurate, factor, words


def sample_rows(folder: Path, manifest: Manifest, structures: Structures, cost_ratio: float) -> list[Row]:
    """Return the trajectories of the sample: one of each split, and up to three while these are cheap.

    `cost_ratio` is the cost of the solutions of a trajectory, in trajectories of the generation.
    """
    rows_by_split = []
    for split in SAMPLED_SPLITS:
        shards = [shard for shard in manifest.planned_shards if shard.split == split][:NUM_TRAJECTORIES]
        rows_by_split.append([row for shard in shards for row in rows_of(folder, structures, shard)])
    num_affordable = MAX_COST_SHARE * sum(entry.trajectories for entry in manifest.shards) / cost_ratio
    chosen: list[Row] = []
    for number in range(NUM_TRAJECTORIES):
        for rows in rows_by_split:
            if number < len(rows) and (number == 0 or len(chosen) < num_affordable):
                chosen.append(rows[number * max(len(rows) // NUM_TRAJECTORIES, 1)])
    return chosen


def measure(
    settings_solver: Mapping[str, Any],
    folder: Path,
    manifest: Manifest,
    structures: Structures,
    *,
    solver: Solver,
    world: MPI.Intracomm,
) -> SelfStatedError:
    """Return the self-stated error of a data set.

    `solver` is that of the data set on this rank alone. All ranks call this function together and share the
    trajectories of the sample. The result is the same on all ranks.

    Raises:
        NotApplicableError: the solver has no more accurate solution, or it diverges; raised on all ranks.
    """
    references = references_of(solver, manifest.configuration, settings_solver)
    if references.accurate is None and not references.is_exact and references.reference is None:
        raise NotApplicableError(f"in space: {references.space}; in time: {references.time}")
    rows = sample_rows(folder, manifest, structures, _cost_ratio(solver, references))
    floors = _floors(folder, manifest)
    start = time.perf_counter()
    own_errors, own_reasons = [], []
    with threadpool_limits(1):
        for row in progress.bar(rows[world.rank :: world.size], "solutions for the error", rank=world.rank):
            try:
                own_errors.append((row.shard.split, *_errors(row, solver, references, floors)))
            except DivergedError as error:
                own_reasons.append(str(error))
    core_seconds = time.perf_counter() - start
    wait_for_ranks(world)
    parts = world.allgather((own_errors, own_reasons, core_seconds))
    errors = [entry for part, _, _ in parts for entry in part]
    if not errors:
        reasons = [reason for _, part, _ in parts for reason in part] or ["there is no trajectory"]
        raise NotApplicableError(f"no trajectory of the sample has a more accurate solution: {reasons[0]}")
    seconds = sum(part_seconds for _, _, part_seconds in parts)
    generation_seconds = sum(entry.core_seconds for entry in manifest.shards)
    return SelfStatedError(
        splits={
            split: _by_field(manifest, [entry[1:] for entry in errors if entry[0] == split], references)
            for split in SAMPLED_SPLITS
            if any(entry[0] == split for entry in errors)
        },
        trajectories={
            split: count for split in SAMPLED_SPLITS if (count := sum(entry[0] == split for entry in errors))
        },
        space=references.space,
        time=references.time,
        frames="predictable" if manifest.spec.chaotic else "all",
        core_seconds=float(f"{seconds:.3g}"),
        relative_cost=float(f"{seconds / generation_seconds:.3g}") if generation_seconds else 0.0,
    )


def _cost_ratio(solver: Solver, references: References) -> float:
    """Return the cost of all solutions of a trajectory of the sample, in trajectories.

    A finer grid by the ratio r of d axes has r^d times as many cells. With the smaller tolerance, explicit
    schemes need about r^2 times as many evaluations.
    """
    own_solver: Solver = getattr(solver, "fine", solver)
    if references.reference is None:
        return 10.0 if own_solver.spec.has_particles else 2.0
    ratio = math.prod(references.reference.solver.spec.shape) / math.prod(own_solver.spec.shape)
    return float(2 + ratio ** (1 + 2 / len(own_solver.spec.shape)))


def _floors(folder: Path, manifest: Manifest) -> list[float]:
    """Return the smallest norm of each field that divides an error, see `simsurrogate.relative_l2`."""
    stats = statistics_of(manifest.header, receipts_of(folder, manifest))
    num_sites = math.prod(manifest.spec.shape)
    return [
        norm_floor(np.ravel(stats["std"][field.name]).tolist(), num_sites) for field in manifest.spec.fields
    ]


def _errors(
    row: Row, solver: Solver, references: References, floors: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the errors in space and in time of one trajectory, (T, F) both; NaN where it does not count.

    Raises:
        DivergedError: a solution cannot be computed.
    """
    times, spec = row.shards.header.times, solver.spec
    accurate = (
        None if references.accurate is None else references.accurate.prepare(row.parameters).solve(times)
    )
    reference = (
        None
        if references.reference is None
        else references.reference.solver.prepare(row.parameters).solve(times)
    )
    errors = np.zeros((2, len(times), len(spec.fields)))
    for frame in range(len(times)):
        stored = row.state(frame)
        middle = stored if accurate is None else next(accurate)
        truth = (
            middle
            if reference is None or references.reference is None
            else references.reference.to_sites(next(reference))
        )
        parts = (
            references.reference_factor * (middle - truth),
            references.accurate_factor * (stored - middle),
        )
        for index, (channels, floor) in enumerate(zip(spec.field_channels, floors, strict=True)):
            norm = max(float(np.linalg.norm(truth[list(channels)])), floor)
            for kind, part in enumerate(parts):
                size = float(np.linalg.norm(part[list(channels)]))
                errors[kind, frame, index] = size / norm if norm else 0.0
    errors[~np.isfinite(errors)] = np.nan
    if spec.chaotic:
        predictable = float(row.shards.arrays(0)[f"scalars/{PREDICTABLE_TIME.name}"][row.row])
        errors[:, times > predictable] = np.nan
    return errors[0], errors[1]


def _by_field(
    manifest: Manifest, errors: Sequence[tuple[np.ndarray, np.ndarray]], references: References
) -> dict[str, FieldError]:
    """Return the summary of the errors (T, F) of the trajectories of one split, by field."""
    space_BTF, time_BTF = (np.array(part) for part in zip(*errors, strict=True))
    result = {}
    for index, field in enumerate(manifest.spec.fields):
        total_BT = space_BTF[..., index] + time_BTF[..., index]
        counts = np.isfinite(total_BT).any(axis=0)
        total_BT = np.where(counts, total_BT, 0.0)
        result[field.name] = FieldError(
            space=None if references.reference is None else ErrorOverTime.of(space_BTF[..., index]),
            time=ErrorOverTime.of(time_BTF[..., index])
            if references.is_exact or references.accurate
            else None,
            median=_listed(np.nanmedian(total_BT, axis=0), counts),
            worst=_listed(np.nanmax(total_BT, axis=0), counts),
        )
    return result


def _listed(values: np.ndarray, counts: np.ndarray) -> list[float | None]:
    return [float(f"{value:.3g}") if count else None for value, count in zip(values, counts, strict=True)]
