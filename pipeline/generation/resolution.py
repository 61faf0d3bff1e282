"""The resolution of a state by its grid: short waves, and jumps between neighbouring cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.parallel.groups import gather_blocks
from simsurrogate.spec import Spec
from solvers.contract import Solver

#: The largest difference of two neighbouring cells, relative to the range of the field in the frame. A front
#: with a larger jump spans fewer than two cells.
MAX_JUMP = 0.5

#: The largest number of values that one rank of a group gathers, 256 MiB.
MAX_GATHERED = 2**25

#: The rounding of stored values, relative to the largest one.
_ROUND_OFF = 1e-6

#: The relative variance of waves that a spectral solver with the 2/3 rule has removed.
_REMOVED = 1e-12


@dataclass(frozen=True)
class Resolution:
    """The worst resolved channels of a state.

    Attributes:
        tail: the largest share of a channel's variance in the last third of the resolved waves of an axis.
        tail_channel: this channel.
        jump: the largest difference of neighbouring cells, relative to the range of the channel.
        jump_channel: this channel.
    """

    tail: float
    tail_channel: str
    jump: float
    jump_channel: str


def measure(spec: Spec, state: np.ndarray, names: Sequence[str] | None = None) -> Resolution:
    """Return the resolution of a state, or of the fields `names`, (C, *sites) on its grid.

    Periodic axes have Fourier waves. Along other axes, the field is continued evenly beyond the ends. The
    resolved waves are those up to a third of the number of cells if all shorter waves vanish (2/3 rule), and
    otherwise those up to a half. Channels whose values are round-off of their mean are resolved, and so are
    axes along which the values vary by round-off alone.
    """
    tails, jumps = [(0.0, "")], [(0.0, "")]
    for name, values in zip(spec.channels if names is None else names, state, strict=True):
        value_range, round_off = float(values.max() - values.min()), _ROUND_OFF * float(np.abs(values).max())
        if value_range <= round_off:
            continue
        for index, axis in enumerate(spec.axes):
            is_periodic = axis.boundary == "periodic"
            lines = np.moveaxis(values, index, -1)
            if np.ptp(lines, axis=-1).max() > round_off:
                tails.append((_tail(lines, is_periodic), name))
            differences = np.diff(lines, axis=-1)
            if is_periodic:
                differences = lines - np.roll(lines, 1, axis=-1)
            jumps.append((float(np.abs(differences).max(initial=0.0)) / value_range, name))
    (tail, tail_channel), (jump, jump_channel) = max(tails), max(jumps)
    return Resolution(tail, tail_channel, jump, jump_channel)


def unresolved(solver: Solver, fields: np.ndarray, names: Sequence[str] | None = None) -> str:
    """Return what the grid of a solver does not resolve in the state or the fields `names`, or an empty text.

    All ranks that share the trajectory call this function with their blocks (C, *block) together, and get the
    same text. Their first rank gathers the fields. More than `MAX_GATHERED` values are not measured, and the
    text says so.
    """
    group, spec = solver.communicator, solver.spec
    if group.size == 1:
        return message(measure(spec, fields, names))
    if (num_values := len(fields) * math.prod(spec.shape)) > MAX_GATHERED:
        return (
            f"the resolution of {num_values:,} values is not measured, because one rank gathers at most "
            f"{MAX_GATHERED:,}"
        )
    whole = np.empty((len(fields), *spec.shape) if group.rank == 0 else 0)
    for block, values in gather_blocks(group, group.allgather(solver.block), fields):
        whole[(slice(None), *block)] = values
    return str(group.bcast(message(measure(spec, whole, names)) if group.rank == 0 else ""))


def message(resolution: Resolution) -> str:
    """Return what the grid does not resolve, or an empty text."""
    # The module imports mpi4py, which starts MPI: not before the stage has chosen how.
    from solvers.numerics.resolution import UNRESOLVED_LIMIT

    if resolution.jump > MAX_JUMP:
        return (
            f"the grid does not resolve a front of {resolution.jump_channel}: neighbouring cells differ by "
            f"{100 * resolution.jump:.3g} % of its range, at most {100 * MAX_JUMP:g} % advised. Type a finer "
            "solver.resolution, or stronger diffusion or smoother drawn fields"
        )
    if resolution.tail > UNRESOLVED_LIMIT:
        return (
            f"the grid does not resolve {resolution.tail_channel}: {100 * resolution.tail:.3g} % of its "
            f"variance is in the last third of the resolved waves, at most {100 * UNRESOLVED_LIMIT:g} % "
            "advised. Type a finer solver.resolution, or stronger diffusion or smoother drawn fields"
        )
    return ""


def _tail(lines: np.ndarray, is_periodic: bool) -> float:
    """Return the share of the variance of lines (..., cells) in the last third of the resolved waves."""
    if not is_periodic:
        lines = np.concatenate([lines, lines[..., ::-1]], axis=-1)
    power = np.abs(np.fft.rfft(lines, axis=-1)) ** 2
    variance = power.reshape(-1, power.shape[-1]).sum(axis=0)
    variance[0] = 0.0
    total = float(variance.sum())
    if not total:
        return 0.0
    waves, size = np.arange(len(variance)), lines.shape[-1]
    limit = size / 3 if variance[waves * 3 >= size].sum() <= _REMOVED * total else size / 2
    return float(variance[waves > 2 * limit / 3].sum()) / total
