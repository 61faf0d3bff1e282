"""The recomputation of single trajectories of a data set, and their comparison with the stored values."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data.format import hdf5
from pipeline.data.format.layout import PREDICTABLE_TIME, dataset_layouts
from pipeline.data.format.structure import Structures
from pipeline.data.manifest import Manifest, Receipt, receipts_of
from pipeline.data.plan import Shard
from pipeline.generation.shards import ShardMaker, machine
from solvers.contract import Solver

#: The number of recomputed trajectories of a data set.
_NUM_TRAJECTORIES = 2
#: The largest relative difference of values that two machines, or one rank and several ones, compute, in the
#: first two frames.
_ROUND_OFF_TOLERANCE = 1e-6


@dataclass(frozen=True)
class StoredRow:
    """A trajectory of a data set: its shard, the shard's receipt, and its row in the shard."""

    shard: Shard
    receipt: Receipt
    row: int


def chosen_rows(folder: Path, manifest: Manifest, solver: Solver) -> list[StoredRow]:
    """Return a few random trajectories of a data set that the solver, on one rank, can compute again.

    The identity of the data set determines the choice.
    """
    rows = [
        StoredRow(shard, receipt, row)
        for shard, receipt in zip(manifest.planned_shards, receipts_of(folder, manifest), strict=True)
        if not other_method(manifest, solver, receipt)
        for row in range(receipt.trajectories)
    ]
    generator = np.random.default_rng(int(manifest.identity[:16], 16))
    order = generator.permutation(len(rows))[:_NUM_TRAJECTORIES]
    return [rows[index] for index in order]


def other_method(manifest: Manifest, solver: Solver, receipt: Receipt) -> str:
    """Return why the solver, on one rank, does not compute a shard's trajectories again; empty if it does."""
    if receipt.ranks == 1 or solver.method == manifest.method:
        return ""
    return (
        f"{receipt.ranks} ranks computed the trajectories by the method {manifest.method}, and one rank uses "
        f"{solver.method}"
    )


def difference(
    folder: Path, manifest: Manifest, structures: Structures, solver: Solver, stored: StoredRow
) -> str | None:
    """Recompute one trajectory; return its difference from the stored trajectory in words, or None.

    The bits are compared. Data from another machine or from several ranks may differ by round-off, which
    grows in chaotic systems, so their parameters and first two frames are compared with a tolerance of 1e-6,
    without scalars of the frames and predictable times.
    """
    index = int(stored.receipt.indices[stored.row])
    locations = structures.locations(folder / stored.shard.file, stored.receipt.trajectories)
    stored_arrays = {
        path: values[stored.row : stored.row + 1]
        for path, values in hdf5.memory_maps(folder / stored.shard.file, locations).items()
    }
    with _solved_again(manifest, structures, solver, stored) as first:
        if isinstance(first, str):
            return f"trajectory {index} fails if it is computed again: {first}"
        difference_of_path = _first_difference(structures, stored.receipt, stored_arrays, first)
        if difference_of_path is None:
            return None
        path, error = difference_of_path
        message = f"{path} of trajectory {index} differs by {error:.2g} of its size if it is computed again"
        with _solved_again(manifest, structures, solver, stored) as second:
            if isinstance(second, str) or _first_difference(structures, stored.receipt, first, second):
                return (
                    f"{message}, and so do two new solutions of equal parameters: the solver draws random "
                    "numbers of its own, or keeps state between calls. A solver has to return the same bits "
                    "for equal options and an equal generator. Draw all random numbers from the generator "
                    "that `sample` receives"
                )
    return (
        f"{message}, and two new solutions agree: the stored trajectory has other physics or other "
        "parameters. A stored trajectory has to follow from the options in the manifest. Delete the file, "
        "and type the command of python -m pipeline.generate"
    )


@contextmanager
def _solved_again(
    manifest: Manifest, structures: Structures, solver: Solver, stored: StoredRow
) -> Iterator[dict[str, np.ndarray] | str]:
    """Yield the datasets of one trajectory that is solved again, by path, or the reason of its failure."""
    with tempfile.TemporaryDirectory() as temporary:
        maker = ShardMaker(
            solver=solver,
            header=structures.header,
            folder=Path(temporary),
            configuration_hash=manifest.shard_hash,
            seed=manifest.configuration["seed"],
            progress_hook=lambda: None,
        )
        shard = Shard(stored.shard.split, 0, int(stored.receipt.indices[stored.row]), 1)
        receipt = maker.make(shard)
        if not receipt.trajectories:
            yield receipt.failed[0].reason
            return
        path = Path(temporary) / shard.file
        yield hdf5.memory_maps(path, structures.locations(path, 1))


def _first_difference(
    structures: Structures,
    receipt: Receipt,
    first: Mapping[str, np.ndarray],
    second: Mapping[str, np.ndarray],
) -> tuple[str, float] | None:
    """Return the path of the first dataset of one row that differs, with its relative difference, or None."""
    for path, layout in dataset_layouts(structures.header, 1).items():
        is_predictable_time = path == f"scalars/{PREDICTABLE_TIME.name}"
        # An invariant may itself be round-off.
        is_of_frames = path.startswith("scalars/") and "time" in layout.dimensions
        if not layout.is_varying or (tolerance(receipt) and (is_predictable_time or is_of_frames)):
            continue
        value, new_value = first[path][0], second[path][0]
        if tolerance(receipt) and "time" in layout.dimensions:
            value, new_value = value[:2], new_value[:2]
        error = relative_difference(value, new_value)
        if error > tolerance(receipt):
            return path, error
    return None


def machine_tolerance(receipt: Receipt) -> float:
    """Return the allowed relative difference of a shard's values from those that equal ranks compute here."""
    return 0.0 if receipt.machine == machine() else _ROUND_OFF_TOLERANCE


def tolerance(receipt: Receipt) -> float:
    """Return the allowed relative difference of a shard's values from those that one rank computes here."""
    return machine_tolerance(receipt) if receipt.ranks == 1 else _ROUND_OFF_TOLERANCE


def relative_difference(value: np.ndarray, new_value: np.ndarray) -> float:
    """Return the largest difference over the largest value; 0 for equal bits only.

    Arrays of several axes are compared along the first one, so a long trajectory takes little memory.
    """
    has_parts = np.ndim(value) > 1
    pairs = list(zip(value, new_value, strict=True)) if has_parts else [(value, new_value)]
    if all(np.array_equal(*pair) for pair in pairs):
        return 0.0
    size = max(float(np.abs(part).max()) for part, _ in pairs)
    differences = (np.abs(np.float64(part) - np.float64(new_part)).max() for part, new_part in pairs)
    return float(max(differences)) / size if size else np.inf
