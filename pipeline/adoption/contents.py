"""The content of foreign files as their reader found it, before units and missing facts are added."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class FoundAxis:
    """An axis of the sites; `points` are its coordinates, None if the files have none."""

    name: str
    size: int
    unit: str | None = None
    points: list[float] | None = None
    boundary: str | None = None
    boundary_values: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class FoundField:
    """A field by its name in the files.

    Attributes:
        name: the name.
        components: the number of components of a vector; 0 for a scalar.
        is_constant: whether the field does not depend on time.
        dtype: the type of its values as the reader returns them, `float32` or `float64`.
        unit: the unit in the files.
        description: the description in the files.
    """

    name: str
    components: int
    is_constant: bool
    dtype: Literal["float32", "float64"]
    unit: str | None = None
    description: str | None = None


@dataclass(frozen=True)
class FoundParameter:
    """A scalar of each trajectory."""

    name: str
    values: list[float]
    unit: str | None = None
    description: str | None = None


@dataclass(frozen=True)
class Location:
    """The offset of an array's first value in a file."""

    path: str
    offset: int


@dataclass(frozen=True)
class MappableRows:
    """Consecutive trajectories whose fields can be mapped into memory.

    `locations` holds each field that lies in a file as one array without filters,
    (trajectory, [time,] *sites[, component]) in the type of the field.
    """

    num_trajectories: int
    locations: dict[str, Location]


@dataclass(frozen=True)
class Contents:
    """The content of foreign files.

    Attributes:
        layout: the layout in words.
        num_trajectories: the number of trajectories in all files.
        fields: the fields.
        axes: the axes of the sites; one axis `particle` for particles.
        times: the time of each frame; None if the files have no times.
        num_frames: the number of frames.
        dimension: the number of directions of particles; 0 on a grid.
        time_unit: the unit of the times in the files.
        parameters: the scalars of the trajectories.
        arrays: the shape of each array that belongs to one trajectory, such as the amplitudes of a start.
        splits: the number of trajectories of each split, in the order of the trajectories; empty without
            splits.
        name: the name of the problem in the files.
        rows: all trajectories in their order, by the files that hold them; empty if none can be mapped.
        notes: what was found and left out, one sentence each.
    """

    layout: str
    num_trajectories: int
    fields: list[FoundField]
    axes: list[FoundAxis]
    times: list[float] | None
    num_frames: int
    dimension: int = 0
    time_unit: str | None = None
    parameters: list[FoundParameter] = field(default_factory=list)
    arrays: dict[str, tuple[int, ...]] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)
    name: str | None = None
    rows: list[MappableRows] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def shape(self, item: FoundField) -> tuple[int, ...]:
        """Return the shape of one trajectory of a field: ([T,] *sites[, D])."""
        frames = () if item.is_constant else (self.num_frames,)
        sites = tuple(axis.size for axis in self.axes)
        return (*frames, *sites, *((item.components,) if item.components else ()))

    @property
    def trajectory_bytes(self) -> int:
        """The bytes of all fields of one trajectory in float64."""
        return 8 * sum(math.prod(self.shape(item)) for item in self.fields)
