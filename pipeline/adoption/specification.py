"""The spec of an adopted data set, from the contents of its files and the user's description."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from pipeline.adoption.contents import Contents, FoundAxis, FoundField
from pipeline.adoption.description import AxisDescription, Description, FieldDescription
from pipeline.adoption.mistakes import Mistakes
from pipeline.adoption.symmetries import symmetries_of
from pipeline.adoption.times import even_times, is_even, time_factor
from simsurrogate.errors import UserError
from simsurrogate.sites import Axis, Boundary, Grid, Particles
from simsurrogate.spec import Field, Parameter, Spec

#: The round-off of a coordinate in float32, relative to the length of the axis.
_ROUND_OFF = 1e-6
#: Names of groups and datasets of a shard.
_RESERVED = {
    "sample", "time", "component", "dimensions", "scalars", "parameters", "boundary_conditions",
    "t0_fields", "t1_fields", "t2_fields",
}  # fmt: skip
_VALID_NAME = re.compile(r"[A-Za-z_]\w{0,79}")


@dataclass(frozen=True)
class FieldSource:
    """A field of the spec and the names of its array, or of the arrays of its components, in the files."""

    field: Field
    names: tuple[str, ...]


@dataclass(frozen=True)
class Specification:
    """The description of the adopted data.

    Attributes:
        spec: the spec.
        sources: the sources of the fields, then of the coefficient fields.
        source_times: the times of the frames in the files (T,), s.
        times: the even times of the stored frames (T,), s; the first is 0.
        is_resampled: whether the frames are interpolated in time.
        precision: the precision of the values in the files.
        notes: what the user has to know, one sentence each.
    """

    spec: Spec
    sources: tuple[FieldSource, ...]
    source_times: np.ndarray
    times: np.ndarray
    is_resampled: bool
    precision: str
    notes: tuple[str, ...]


def specification(
    contents: Contents, description: Description, name: str, inside: np.ndarray
) -> Specification:
    """Return the spec of the data and the origin of each field.

    Args:
        contents: the content of the files.
        description: the user's description.
        name: the name of the problem if neither files nor description name it.
        inside: the trajectories whose parameters lie in the training range.

    Raises:
        UserError: facts are missing or wrong, each with its key; or the times or an axis are not even.
    """
    mistakes = Mistakes()
    sources = _fields(contents, description, mistakes)
    axes = [
        _axis(axis, description.axes.get(axis.name), mistakes)
        for axis in contents.axes
        if not contents.dimension
    ]
    _refuse_unknown("axes", description.axes, [axis.name for axis in contents.axes], mistakes)
    parameters = _parameters(contents, description, inside, mistakes)
    seconds = time_factor(contents, description, mistakes)
    mistakes.raise_any(contents.layout, "description=FILE.yaml")
    sites = Particles(contents.axes[0].size, contents.dimension) if contents.dimension else Grid(tuple(axes))
    states = [source for source in sources if not _found(contents, source.names[0]).is_constant]
    constants = [source for source in sources if source not in states]
    if not states:
        raise UserError(
            "no field changes in time. A data set has at least one field with a time axis. List such a field "
            "under fields in the description"
        )
    source_times, times, notes = even_times(contents, description, seconds)
    fields = tuple(source.field for source in states)
    coefficient_fields = tuple(source.field for source in constants)
    problem_name = description.name or contents.name or name
    try:
        spec = Spec(
            name=re.sub(r"\W+", "_", problem_name)[:80] or "adopted",
            equation=description.equation,
            sites=sites,
            fields=fields,
            coefficient_fields=coefficient_fields,
            parameters=parameters,
            invariants=(),
            autonomous=description.autonomous,
            parametric=description.parametric,
            symmetries=symmetries_of(description.symmetries, sites),
        )
    except ValueError as error:
        raise UserError(f"{error}. The description has to fit the data. Correct the description") from None
    precisions = {_found(contents, name).dtype for source in sources for name in source.names}
    return Specification(
        spec=spec,
        sources=(*states, *constants),
        source_times=source_times,
        times=times,
        is_resampled=not is_even(source_times),
        precision="float64" if "float64" in precisions else "float32",
        notes=(*contents.notes, *notes),
    )


def _found(contents: Contents, name: str) -> FoundField:
    return next(field for field in contents.fields if field.name == name)


def _fields(contents: Contents, description: Description, mistakes: Mistakes) -> list[FieldSource]:
    """Return the fields of the description, or all fields in the files."""
    found = {field.name: field for field in contents.fields}
    described = description.fields or {name: FieldDescription() for name in found}
    axis_names = {axis.name for axis in contents.axes}
    sources = []
    for name, entry in described.items():
        names = [entry.source or name] if not isinstance(entry.source, list) else entry.source
        if unknown := [item for item in names if item not in found]:
            mistakes.wrong.append(
                f"fields.{name} has the source {unknown[0]}, which is no array in the files. They hold "
                f"{', '.join(found) or 'no other fields'}. Type fields: {{{name}: {{source: NAME}}}}"
            )
            continue
        if not _VALID_NAME.fullmatch(name) or name in _RESERVED | axis_names:
            mistakes.wrong.append(
                f"the field {name} has a name that a data set uses itself, or that is no name. Letters, "
                f"digits and _ are allowed. Type fields: {{NEW_NAME: {{source: {name}}}}}"
            )
            continue
        first = found[names[0]]
        num_directions = contents.dimension or len(contents.axes)
        is_list = isinstance(entry.source, list)
        parts = [found[item] for item in names]
        if is_list and (
            len(names) != num_directions
            or any(part.components or part.is_constant != first.is_constant for part in parts)
        ):
            mistakes.wrong.append(
                f"fields.{name}.source={names} does not name one scalar for each of the {num_directions} "
                "directions. A vector has one scalar a direction. Correct the list"
            )
            continue
        unit = mistakes.unit(f"fields.{name}.unit", entry.unit, first.unit)
        if entry.conserved and description.gaps:
            mistakes.wrong.append(
                f"fields.{name} is conserved, and gaps: true declares missing values. The mean over a box "
                f"with gaps is unknown. Remove conserved: true from {name}"
            )
        if entry.noise and first.is_constant:
            mistakes.wrong.append(
                f"fields.{name}.noise={entry.noise:g} belongs to a field that is constant in time. Only "
                f"fields that change have noise. Remove noise from {name}"
            )
        sources.append(
            FieldSource(
                Field(
                    name,
                    unit,
                    entry.description or first.description or name.replace("_", " "),
                    tensor_order=int(is_list or first.components > 0),
                    conserved=entry.conserved,
                    pseudo=entry.pseudo,
                ),
                tuple(names),
            )
        )
    return sources


def _axis(axis: FoundAxis, described: AxisDescription | None, mistakes: Mistakes) -> Axis:
    """Return an axis of equal cells, whose centres are the points in the files."""
    entry, key = described or AxisDescription(), f"axes.{axis.name}"
    unit = mistakes.unit(f"{key}.unit", entry.unit, axis.unit)
    lower, extent = entry.lower, entry.extent
    if not _VALID_NAME.fullmatch(axis.name):
        mistakes.wrong.append(
            f"the axis {axis.name!r} has no name of letters, digits and _. Rename it in the files"
        )
    if axis.points is not None:
        points = np.array(axis.points)
        if not is_even(points):
            steps = np.diff(points)
            mistakes.wrong.append(
                f"the coordinates {axis.name} are not even: their steps are {steps.min():g} to "
                f"{steps.max():g}. Only grids of equal cells are adopted. Resample the fields on an even grid"
            )
        elif len(points) > 1:
            width = (points[-1] - points[0]) / (len(points) - 1)
            # The start of an axis at 0 has round-off in float32.
            start = points[0] - width / 2
            start = 0.0 if abs(start) < _ROUND_OFF * width * len(points) else start
            lower = start if lower is None else lower
            extent = width * len(points) if extent is None else extent
    if extent is None:
        mistakes.missing.append(f"{key}.extent: LENGTH   # in the unit of the axis")
        extent = 1.0
    boundary = entry.boundary or axis.boundary
    if boundary is None:
        mistakes.missing.append(f"{key}.boundary: periodic, dirichlet, neumann or open")
    elif boundary not in get_args(Boundary):
        mistakes.wrong.append(f"{key}.boundary={boundary} in the files is unknown. Type {key}.boundary")
    lower = lower or 0.0
    values = entry.boundary_values or axis.boundary_values
    checked: Boundary = next((item for item in get_args(Boundary) if item == boundary), "open")
    return Axis(axis.name, unit, axis.size, float(lower), float(lower + extent), checked, values)


def _parameters(
    contents: Contents, description: Description, inside: np.ndarray, mistakes: Mistakes
) -> tuple[Parameter, ...]:
    """Return the listed parameters, or all that differ between trajectories."""
    found = {parameter.name: parameter for parameter in contents.parameters}
    _refuse_unknown("parameters", description.parameters, list(found), mistakes)
    parameters = []
    for name, parameter in found.items():
        values = np.array(parameter.values)
        entry = description.parameters.get(name)
        if entry is None and (description.parameters or np.ptp(values) == 0):
            continue
        if not _VALID_NAME.fullmatch(name):
            continue
        unit = mistakes.unit(f"parameters.{name}.unit", entry.unit if entry else None, parameter.unit)
        text = (entry and entry.description) or parameter.description or name.replace("_", " ")
        low = values[inside].min() if entry is None or entry.low is None else entry.low
        high = values[inside].max() if entry is None or entry.high is None else entry.high
        parameters.append(Parameter(name, unit, text, float(low), float(high)))
    return tuple(parameters)


def _refuse_unknown(key: str, described: object, found: Sequence[str], mistakes: Mistakes) -> None:
    for name in described if isinstance(described, dict) else ():
        if name not in found:
            mistakes.wrong.append(
                f"{key}.{name} is not in the files. They have the {key} {', '.join(found) or 'none'}. "
                f"Correct {key} in the description"
            )
