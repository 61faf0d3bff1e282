"""The trajectories of a shard, as the checks of the physics read them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.data.format.structure import Structures
from pipeline.data.manifest import Receipt, read_document, receipt_path
from pipeline.data.plan import Shard, generator
from pipeline.data.windows import Shards
from simsurrogate.spec import Spec
from solvers.contract import Parameters, Solver, Trajectory

#: The largest size of the frames that a check reads together, bytes in float64, unless these are fewer than
#: `_LEAST_FRAMES`. The residual makes about 20 copies of them.
_PART_BYTES = 2**21
#: The fewest frames that are read together.
_LEAST_FRAMES = 8
#: The largest size of the frames of a trajectory that are compared, bytes in float64.
_MAX_BYTES = 2**27
#: The frames that two parts of a trajectory share, so that each interval belongs to one of them.
_SHARED_FRAMES = 3


class NotApplicableError(ValueError):
    """A check that says nothing on these data; the message is the reason."""


@dataclass(frozen=True)
class Frames:
    """Consecutive frames of one trajectory, in float64.

    Attributes:
        states: (T, C, *sites).
        coefficient_fields: (K, *sites).
        parameters: the scalar parameters and arrays by name.
        times: (T,), s.
        precision: the precision of the file.
        first: the index of the first of these frames in the trajectory.
    """

    states: np.ndarray
    coefficient_fields: np.ndarray
    parameters: Mapping[str, Any]
    times: np.ndarray
    precision: str
    first: int = 0


@dataclass(frozen=True)
class Row:
    """One stored trajectory.

    Attributes:
        shards: the reader of the shard.
        shard: the shard.
        receipt: the receipt of the shard.
        row: the row in the shard.
        solver: the solver that computed the data; None if there is none.
    """

    shards: Shards
    shard: Shard
    receipt: Receipt
    row: int
    solver: Solver | None = None

    @property
    def index(self) -> int:
        """The index of the trajectory in the data set."""
        return int(self.receipt.indices[self.row])

    @property
    def parameters(self) -> dict[str, Any]:
        """The scalar parameters and the arrays, by name."""
        arrays = self.shards.arrays(0)
        header = self.shards.header
        scalars = {name: float(arrays[f"scalars/{name}"][self.row]) for name in header.spec.parameter_names}
        return scalars | {
            name: np.array(arrays[f"parameters/{name}"][self.row]) for name in header.parameter_shapes
        }

    @cached_property
    def drawn_parameters(self) -> Parameters:
        """The parameters that the seed of the data set and the index determine."""
        assert self.solver is not None
        seed = int(self.shards.header.attributes["seed"])
        return self.solver.sample(generator(seed, self.index), outside=self.shard.is_outside)

    @cached_property
    def trajectory(self) -> Trajectory:
        """The solver's trajectory of the drawn parameters, which all checks of the row share."""
        assert self.solver is not None
        return self.solver.prepare(self.drawn_parameters)

    def series(self, name: str) -> np.ndarray:
        """Return a stored scalar of each frame, such as an invariant."""
        return np.array(self.shards.arrays(0)[f"scalars/{name}"][self.row], np.float64)

    def state(self, frame: int) -> np.ndarray:
        """Return the state (C, *sites) of one frame in float64."""
        state: np.ndarray = self.states(slice(frame, frame + 1))[0]
        return state

    def states(self, frames: slice) -> np.ndarray:
        """Return the states (T, C, *sites) of some frames in float64."""
        header = self.shards.header
        count = len(range(*frames.indices(len(header.times))))
        states = np.empty((count, len(header.spec.channels), *header.spec.shape), header.precision)
        self.shards.fill("fields", self.shards.arrays(0), (self.row, frames), states, axis=1)
        return states.astype(np.float64)

    def coefficient_fields(self) -> np.ndarray:
        """Return the coefficient fields (K, *sites) in float64."""
        header = self.shards.header
        values = np.empty((len(header.spec.coefficient_channels), *header.spec.shape), header.precision)
        self.shards.fill("coefficient_fields", self.shards.arrays(0), (self.row,), values, axis=0)
        return values.astype(np.float64)

    def parts(self) -> Iterator[Frames]:
        """Yield the frames in parts of a few megabytes; of a long trajectory, another part in each row."""
        header = self.shards.header
        num_frames, frame_bytes = len(header.times), _frame_bytes(header.spec)
        count = min(max(_MAX_BYTES // frame_bytes, _LEAST_FRAMES), num_frames)
        first = self.index * count % (num_frames - count + 1)
        part_length = min(max(_PART_BYTES // frame_bytes, _LEAST_FRAMES), count)
        start = first
        while True:
            # The last part is as long as the others.
            start = min(start, first + count - part_length)
            window = slice(start, start + part_length)
            yield Frames(
                self.states(window),
                self.coefficient_fields(),
                self.parameters,
                header.times[window],
                header.precision,
                start,
            )
            if window.stop == first + count:
                return
            start = window.stop - _SHARED_FRAMES


def refuse_large_frames(spec: Spec) -> None:
    """Refuse frames of which too few fit into memory.

    Raises:
        NotApplicableError: the message is the reason.
    """
    size = _LEAST_FRAMES * _frame_bytes(spec)
    if size > _MAX_BYTES:
        raise NotApplicableError(
            f"{_LEAST_FRAMES} frames have {size / 2**20:.0f} MiB in float64, at most "
            f"{_MAX_BYTES / 2**20:.0f} MiB are compared"
        )


def _frame_bytes(spec: Spec) -> int:
    return 8 * len(spec.channels) * math.prod(spec.shape)


def order_of(solver: Solver, kind: Literal["space", "time"]) -> float:
    """Return the order of convergence of a solver; NaN if the solver does not declare its order."""
    return float(getattr(solver, f"order_in_{kind}", math.nan))


def rows_of(
    folder: Path, structures: Structures, shard: Shard, solver: Solver | None = None
) -> Iterator[Row]:
    """Yield the trajectories of a shard; `solver` has computed them, if it is known."""
    receipt = read_document(receipt_path(folder, shard), Receipt)
    if not receipt.trajectories:
        return
    shards = Shards(structures, [folder / shard.file], [receipt.trajectories], [None])
    for row in range(receipt.trajectories):
        yield Row(shards, shard, receipt, row, solver)
