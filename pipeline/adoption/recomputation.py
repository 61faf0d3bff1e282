"""The comparison of adopted trajectories with those of a solver that the command line names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.data.format import hdf5
from pipeline.data.format.layout import field_path
from pipeline.data.format.structure import Structures
from pipeline.data.manifest import Manifest
from pipeline.generation.recomputation import StoredRow
from solvers.contract import DivergedError, Solver


def difference(
    folder: Path,
    manifest: Manifest,
    solver: Solver,
    stored: StoredRow,
    *,
    structures: Structures,
    max_error: float,
) -> str | None:
    """Compute one trajectory with the solver; return how far the stored fields are from it, or None.

    The error of a field is the norm of the difference over the norm of the computed field, over all frames.
    Data of another code differ by the errors of both codes, so errors up to `max_error` are accepted.
    """
    spec = manifest.spec
    locations = structures.locations(folder / stored.shard.file, stored.receipt.trajectories)
    arrays = hdf5.memory_maps(folder / stored.shard.file, locations)
    parameters = {name: float(arrays[f"scalars/{name}"][stored.row]) for name in spec.parameter_names}
    own_arrays = {
        name: np.array(arrays[f"parameters/{name}"][stored.row]) for name in manifest.parameter_shapes
    }
    # The squared norms of the difference and of the computed field, (2, F).
    squares = np.zeros((2, len(spec.fields)))
    try:
        for frame, state in enumerate(solver.prepare(parameters | own_arrays).solve(structures.header.times)):
            for index, (field, channels) in enumerate(zip(spec.fields, spec.field_channels, strict=True)):
                stored_values = np.asarray(arrays[field_path(field)][stored.row, frame], np.float64)
                if field.tensor_order:
                    stored_values = np.moveaxis(stored_values, -1, 0)
                computed = state[list(channels)].reshape(stored_values.shape)
                squares[:, index] += np.sum((stored_values - computed) ** 2), np.sum(computed**2)
    except DivergedError as error:
        return f"row {stored.row} cannot be computed with solver={solver.spec.name}: {error}"
    for field, (norm, size) in zip(spec.fields, np.sqrt(squares).T.tolist(), strict=True):
        relative_error = norm / (size or 1.0)
        if not relative_error <= max_error:
            return (
                f"{field.name} of row {stored.row} differs by {relative_error:.2g} of its norm from the "
                f"trajectory of solver={solver.spec.name}, at most {max_error:g} expected. Type the options "
                "of the solver that computed the data, leave out solver=, or type a larger storage.max_error"
            )
    return None
