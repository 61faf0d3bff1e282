"""The comparison of every stored trajectory with all that follows from its index without a solution.

The index determines the parameters, the initial state and the coefficient fields. The stored states determine
the invariants. Errors of single rows, exchanged rows and impossible values appear, at the cost of a few
frames for each trajectory.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.data.format.layout import FieldKind
from pipeline.data.windows import Selection
from pipeline.generation.recomputation import machine_tolerance, relative_difference
from pipeline.physics_checks.row_checks import Finding
from pipeline.physics_checks.stored_rows import Row
from solvers.contract import DivergedError, SteppedTrajectory

#: The size of perturbations, in rounding errors of the file, and their number.
_PERTURBATION = 1000
_NUM_PERTURBATIONS = 4
_REMEDY = (
    "A trajectory is determined by seed and index. Draw all random numbers from the generator that `sample` "
    "receives. If the file was changed, delete it and type the command of python -m pipeline.generate"
)


def check(row: Row) -> Finding:
    """Compare the parameters, the start and the invariants of a trajectory with those of its index.

    The states of trajectories that several ranks shared are not compared, because their round-off depends on
    the number of ranks.
    """
    try:
        message = next(_mistakes(row), None)
    except DivergedError as error:
        message = f"the start cannot be computed again: {error}"
    return Finding(f"{message}. {_REMEDY}" if message else "")


def _mistakes(row: Row) -> Iterator[str]:
    """Yield a sentence for each difference of a row from what its drawn parameters determine."""
    header, arrays, receipt = row.shards.header, row.shards.arrays(0), row.receipt
    names = [("scalars", name) for name in header.spec.parameter_names]
    names += [("parameters", name) for name in header.parameter_shapes]
    for group, name in names:
        error = relative_difference(
            arrays[f"{group}/{name}"][row.row], np.asarray(row.drawn_parameters[name])
        )
        if error > machine_tolerance(receipt):
            yield f"{name} differs by {error:.2g} of its size from the value that seed and index determine"
    if receipt.ranks > 1:
        return
    trajectory = row.trajectory
    drawn: list[tuple[FieldKind, np.ndarray, Selection]] = []
    if isinstance(trajectory, SteppedTrajectory):
        drawn.append(("fields", trajectory.initial_state, (row.row, 0)))
    if trajectory.coefficient_fields is not None:
        drawn.append(("coefficient_fields", trajectory.coefficient_fields, (row.row,)))
    for kind, values, selection in drawn:
        stored_values, channel = _stored(row, kind, selection), 0
        for field in header.fields(kind):
            channels = slice(channel, channel + len(header.spec.components(field)))
            channel = channels.stop
            error = relative_difference(stored_values[channels], values[channels].astype(stored_values.dtype))
            if error > machine_tolerance(receipt):
                yield f"{field.name} at 0 s differs by {error:.2g} of its size from that of its parameters"
    if header.spec.coarsening is None:
        yield from _invariant_mistakes(row)
    elif machine_tolerance(receipt) == 0:
        yield from _initial_invariant_mistakes(row)


def _invariant_mistakes(row: Row) -> Iterator[str]:
    """Yield a sentence for each stored invariant that is not an invariant of the stored states.

    The first, the middle and the last frame are compared. The stored states are rounded, and the invariants
    of perturbed states bound the effect.
    """
    header, trajectory = row.shards.header, row.trajectory
    eps = float(np.finfo(header.precision).eps)
    for frame in sorted({0, len(header.times) // 2, len(header.times) - 1}) if header.spec.invariants else ():
        state = _stored(row, "fields", (row.row, frame)).astype(np.float64)
        perturbed_invariants = None
        for name, value in trajectory.invariants(state).items():
            series = row.shards.arrays(0)[f"scalars/{name}"][row.row]
            error = abs(value - series[frame])
            if error <= 10 * eps * np.abs(series).max():
                continue
            if perturbed_invariants is None:
                perturbed_invariants = [trajectory.invariants(values) for values in _perturbed(state, eps)]
            if not error <= max(abs(perturbed[name] - value) for perturbed in perturbed_invariants):
                yield (
                    f"{name} at {header.times[frame]:g} s is {series[frame]:g}, and the fields of this time "
                    f"give {value:g}"
                )


def _initial_invariant_mistakes(row: Row) -> Iterator[str]:
    """Yield a sentence for each invariant at 0 s that is not that of the solver's own initial state.

    Coarse states do not determine the invariants. The bits are compared, because an invariant may itself be
    round-off.
    """
    header, trajectory = row.shards.header, row.trajectory
    if not isinstance(trajectory, SteppedTrajectory) or not header.spec.invariants:
        return
    frame = next(trajectory.frames(header.times))
    for name, value in frame.invariants().items():
        stored = row.shards.arrays(0)[f"scalars/{name}"][row.row, 0]
        if value != stored:
            yield f"{name} at 0 s is {stored:g}, and the initial state of its parameters gives {value:g}"


def _perturbed(state: np.ndarray, eps: float) -> Iterator[np.ndarray]:
    """Yield randomly perturbed states; `eps` is the rounding error of the file."""
    rng = np.random.default_rng(0)
    for _ in range(_NUM_PERTURBATIONS):
        yield state * (1 + _PERTURBATION * eps * rng.uniform(-1, 1, state.shape))


def _stored(row: Row, kind: FieldKind, selection: Selection) -> np.ndarray:
    """Return a selection of the stored fields of a kind, channels first."""
    header = row.shards.header
    values = np.empty((len(header.channels(kind)), *header.spec.shape), header.precision)
    row.shards.fill(kind, row.shards.arrays(0), selection, values, axis=0)
    return values
