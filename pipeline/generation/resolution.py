"""The resolution of a state by its grid: short waves, and jumps between neighbouring cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simsurrogate.spec import Spec

#: The largest difference of two neighbouring cells, relative to the range of the field in the frame. A front
#: with a larger jump spans fewer than two cells.
MAX_JUMP = 0.5

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


def measure(spec: Spec, state: np.ndarray) -> Resolution:
    """Return the resolution of a state (C, *sites) on its grid.

    Periodic axes have Fourier waves. Along other axes, the field is continued evenly beyond the ends. The
    resolved waves are those up to a third of the number of cells if all shorter waves vanish (2/3 rule), and
    otherwise those up to a half. Channels whose values are round-off of their mean are resolved.
    """
    tails, jumps = [(0.0, "")], [(0.0, "")]
    for name, values in zip(spec.channels, state, strict=True):
        value_range = float(values.max() - values.min())
        if value_range <= 1e-6 * float(np.abs(values).max()):
            continue
        for index, axis in enumerate(spec.axes):
            is_periodic = axis.boundary == "periodic"
            lines = np.moveaxis(values, index, -1)
            tails.append((_tail(lines, is_periodic), name))
            differences = np.diff(lines, axis=-1)
            if is_periodic:
                differences = lines - np.roll(lines, 1, axis=-1)
            jumps.append((float(np.abs(differences).max(initial=0.0)) / value_range, name))
    (tail, tail_channel), (jump, jump_channel) = max(tails), max(jumps)
    return Resolution(tail, tail_channel, jump, jump_channel)


def message(resolution: Resolution) -> str:
    """Return what the grid does not resolve, or an empty text."""
    # The module imports mpi4py, which starts MPI: not before the stage has chosen how.
    from solvers.numerics.resolution import UNRESOLVED_LIMIT

    if resolution.jump > MAX_JUMP:
        return (
            f"the grid does not resolve a front of {resolution.jump_channel}: neighbouring cells differ by "
            f"{100 * resolution.jump:.3g} % of its range, at most {100 * MAX_JUMP:g} % advised. Type a finer "
            "solver.resolution, or stronger diffusion"
        )
    if resolution.tail > UNRESOLVED_LIMIT:
        return (
            f"the grid does not resolve {resolution.tail_channel}: {100 * resolution.tail:.3g} % of its "
            f"variance is in the last third of the resolved waves, at most {100 * UNRESOLVED_LIMIT:g} % "
            "advised. Type a finer solver.resolution, or stronger diffusion"
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
