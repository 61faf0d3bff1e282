"""The YAML that says what files cannot say, such as units, boundary conditions, symmetries and splits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.config.parsing import validated_model
from pipeline.data.origin import DeclaredOrigin
from pipeline.data.plan import Split
from simsurrogate import documents
from simsurrogate.sites import Boundary

#: A name in a data set. It is a part of paths in HDF5 files.
Name = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z_]\w{0,79}$", description="a name of letters, digits and _, without a digit first"
    ),
]
_REMEDY = "Write the file as docs/adopt.md describes"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FieldDescription(_Section):
    """A field: `source` is its name in the files, or the names of its components; by default its own name.

    The mean of a `conserved` field over the box never changes. A `pseudo` field changes its sign in a
    reflection. `noise` is the standard deviation of the errors of measured values, in the unit of the field.
    """

    unit: str | None = None
    source: str | list[str] | None = None
    description: str | None = None
    conserved: bool = False
    pseudo: bool = False
    noise: Annotated[float, Field(gt=0)] | None = None


class AxisDescription(_Section):
    """An axis: `lower` and `extent` in its unit, the boundary condition, and the values at its ends."""

    unit: str | None = None
    lower: float | None = None
    extent: Annotated[float, Field(gt=0)] | None = None
    boundary: Boundary | None = None
    boundary_values: tuple[float, float] | None = None


class TimesDescription(_Section):
    """The times of the frames; `resample` interpolates times that are not even, linearly."""

    unit: str | None = None
    step: Annotated[float, Field(gt=0)] | None = None
    resample: bool = False


class ParameterDescription(_Section):
    """A scalar parameter; `low` and `high` are by default its smallest and largest value in the data."""

    unit: str | None = None
    description: str | None = None
    low: float | None = None
    high: float | None = None


class Description(_Section):
    """All that files may leave open.

    With `fields`, only the listed fields are adopted, and with `parameters` only the listed parameters.
    NaN in a field that changes in time is a missing value with `gaps`, and a mistake without.
    `order` names the axes of plain arrays, `dimensions` those of NetCDF and Zarr, and `columns` those of
    tables. `splits` holds the number or the share of the trajectories of each split. With `in_place` true,
    new splits divide the trajectories in the order of the files, and files that cannot be read in place are
    refused; with false, all files are copied. `origin` says where the trajectories come from.
    """

    name: Name | None = None
    equation: str = ""
    origin: DeclaredOrigin = DeclaredOrigin()
    fields: dict[Name, FieldDescription] = {}
    axes: dict[Name, AxisDescription] = {}
    times: TimesDescription = TimesDescription()
    parameters: dict[Name, ParameterDescription] = {}
    symmetries: list[str] = []
    gaps: bool = False
    autonomous: bool = True
    parametric: bool = False
    splits: dict[Split, Annotated[float, Field(ge=0)]] = {}
    in_place: bool | None = None
    order: list[str] | None = None
    dimensions: dict[Literal["trajectory", "time"], str] = {}
    columns: dict[str, str] = {}

    @property
    def wanted_parameters(self) -> list[str]:
        """The names of the listed parameters."""
        return list(self.parameters)

    @property
    def wanted_sources(self) -> list[str]:
        """The names in the files of the listed fields; empty if all fields are adopted."""
        names: list[str] = []
        for name, field in self.fields.items():
            source = field.source or name
            names += [source] if isinstance(source, str) else source
        return names


def read(path: Path | None) -> Description:
    """Return the description in a YAML file, or an empty description.

    Raises:
        UserError: the file cannot be read, or has a wrong key or value; each mistake has a line.
    """
    if path is None:
        return Description()
    options = documents.read_yaml(path, dict[str, object], _REMEDY)
    description: Description = validated_model(Description, options, "")
    return description
