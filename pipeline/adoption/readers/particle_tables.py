"""Tables of particles: a row for each trajectory, time and particle, in a text file with commas."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from pipeline.adoption.contents import Contents, FoundAxis, FoundField, FoundParameter
from pipeline.adoption.description import Description
from pipeline.adoption.readers.reader import Reader, listed
from simsurrogate.errors import UserError
from simsurrogate.sites import DIRECTIONS

#: The columns that every table has. Positions and velocities have a column for each direction.
_KEYS = ("trajectory", "time", "particle")
_MAX_HEADER_BYTES = 2**16


class ParticleTable(Reader):
    """The reader of one table."""

    def __init__(self, path: Path, description: Description):
        self._path, self._columns = path, description.columns
        names = self._header()
        dimension = sum(self._name(direction) in names for direction in DIRECTIONS)
        directions = DIRECTIONS[:dimension]
        columns = [*_KEYS, *directions, *(f"v{direction}" for direction in directions), "mass"]
        missing = [
            column
            for column in (columns if dimension else [*columns, "x"])
            if self._name(column) not in names
        ]
        if missing:
            raise UserError(
                f"{path} lacks the columns {', '.join(map(self._name, missing))}. It has "
                f"{', '.join(names)[:300]}. Name other columns by columns: {{{missing[0]}: NAME}} in the "
                "description, or add them"
            )
        table = self._table(names)
        self._values = {column: table[:, names.index(self._name(column))] for column in columns}
        order = np.lexsort([self._values[key] for key in reversed(_KEYS)])
        table = table[order]
        self._values = {column: values[order] for column, values in self._values.items()}
        trajectories, times, particles = (np.unique(self._values[key]) for key in _KEYS)
        self._shape = (len(trajectories), len(times), len(particles))
        self._check_rows(trajectories, times, particles)
        self._directions = directions
        masses = self._values["mass"].reshape(self._shape)
        self._check_constant("mass", masses)
        parameters = []
        for name in description.wanted_parameters:
            if name not in names:
                continue
            values = table[:, names.index(name)].reshape(self._shape)
            self._check_constant(name, values.reshape(self._shape[0], -1, 1))
            parameters.append(FoundParameter(name, listed(name, values[:, 0, 0])))
        self.contents = Contents(
            layout="a table of particles",
            num_trajectories=self._shape[0],
            fields=[
                FoundField("position", dimension, False, "float64"),
                FoundField("velocity", dimension, False, "float64"),
                FoundField("mass", 0, True, "float64"),
            ],
            axes=[FoundAxis("particle", self._shape[2], "1", None, "open")],
            times=listed("time", times),
            num_frames=self._shape[1],
            dimension=dimension,
            parameters=parameters,
        )

    def _name(self, column: str) -> str:
        return self._columns.get(column, column)

    def _header(self) -> list[str]:
        with self._path.open("rb") as file:
            line = file.readline(_MAX_HEADER_BYTES + 1)
        if len(line) > _MAX_HEADER_BYTES or b"\0" in line:
            raise UserError(
                f"{self._path} has no first line of at most {_MAX_HEADER_BYTES} bytes. The first line of a "
                "table names its columns. Use another file"
            )
        return [
            name.strip().strip('"') for name in line.decode("utf-8", "replace").lstrip("\ufeff").split(",")
        ]

    def _table(self, names: list[str]) -> np.ndarray:
        """Return all rows as float64."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                with self._path.open(encoding="utf-8-sig") as file:
                    table = np.loadtxt(file, np.float64, delimiter=",", skiprows=1, ndmin=2, comments=None)
        except (ValueError, UserWarning, UnicodeDecodeError) as error:
            raise UserError(
                f"{self._path} is not a table of numbers: {str(error)[:200]}. Every row has a number in each "
                "column. Correct the row"
            ) from None
        if table.shape[1] != len(names):
            raise UserError(
                f"{self._path} has {len(names)} names and {table.shape[1]} columns. Both numbers are equal "
                "in a table. Correct the first line"
            )
        return table

    def _check_rows(self, *keys: np.ndarray) -> None:
        """Check that each trajectory has each time and each particle once."""
        counts = [len(values) for values in keys]
        if any(not np.isfinite(values).all() for values in keys):
            raise UserError(
                f"{self._path} has a trajectory, time or particle that is not finite. Correct the row"
            )
        num_rows = len(self._values["time"])
        found = np.stack([self._values[key] for key in _KEYS])
        if num_rows == int(np.prod(counts, dtype=object)):
            grids = np.stack([grid.ravel() for grid in np.meshgrid(*keys, indexing="ij")])
            if np.array_equal(found, grids):
                return
        raise UserError(
            f"{self._path} has {num_rows} rows for {counts[0]} trajectories, {counts[1]} times and "
            f"{counts[2]} particles. Each trajectory has a row for each of the same times and particles. Add "
            "the missing rows, or write trajectories of other times or particles to another table"
        )

    def _check_constant(self, name: str, values: np.ndarray) -> None:
        if (values != values[:, :1]).any():
            raise UserError(
                f"{self._path}: {name} changes within a trajectory. It has to be constant. Correct the column"
            )

    def values(self, trajectory: int) -> dict[str, np.ndarray]:
        """Return position and velocity (T, N, D), and mass (N,), of a trajectory."""

        def field(names: list[str]) -> np.ndarray:
            return np.stack([self._values[name].reshape(self._shape)[trajectory] for name in names], axis=-1)

        return {
            "position": field(list(self._directions)),
            "velocity": field([f"v{direction}" for direction in self._directions]),
            "mass": self._values["mass"].reshape(self._shape)[trajectory, 0],
        }
