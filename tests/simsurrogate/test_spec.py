"""Specs: channels, coordinates and the conversion to JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from simsurrogate.spec import Axis, Field, Grid, Parameter, Particles, Quantity, Spec

FLOW = Spec(
    name="flow",
    equation="u_t = ...",
    sites=Grid(
        (Axis("x", "m", 4, 0.0, 2.0, "periodic"), Axis("y", "m", 3, -1.0, 2.0, "neumann", (0.0, 1.0)))
    ),
    fields=(
        Field("density", "kg/m^3", "density", conserved=True),
        Field("velocity", "m/s", "velocity", 1, divergence_free=True),
    ),
    coefficient_fields=(Field("gravity", "m/s^2", "gravity", 1), Field("depth", "m", "depth")),
    parameters=(Parameter("drag", "1/s", "drag", 0.5, 1.5),),
    invariants=(Quantity("mass", "kg", "mass"),),
    autonomous=True,
    parametric=False,
)
X_AXIS = FLOW.to_json()["sites"]["axes"][0]


def test_a_vector_has_one_channel_for_each_direction() -> None:
    assert FLOW.channels == ("density", "velocity_x", "velocity_y")
    assert FLOW.channel_units == ("kg/m^3", "m/s", "m/s")
    assert FLOW.coefficient_channels == ("gravity_x", "gravity_y", "depth")
    assert FLOW.field_channels == ((0,), (1, 2))
    assert FLOW.conserved_channels == ("density",)
    assert FLOW.divergence_free_channels == (("velocity_x", "velocity_y"),)


def test_vectors_of_particles_have_the_directions_of_space() -> None:
    spec = Spec(
        name="bodies",
        equation="",
        sites=Particles(count=5, dimension=3),
        fields=(Field("position", "m", "", 1), Field("velocity", "m/s", "", 1)),
        coefficient_fields=(Field("mass", "kg", ""),),
        parameters=(),
        invariants=(),
        autonomous=True,
        parametric=True,
    )
    assert spec.has_particles
    assert spec.shape == (5,)
    assert spec.axis_names == ("particle",)
    assert spec.channels[:4] == ("position_x", "position_y", "position_z", "velocity_x")
    np.testing.assert_array_equal(spec.axes[0].centres, [0, 1, 2, 3, 4])


def test_cells_of_an_axis_are_centred() -> None:
    x, y = FLOW.axes
    np.testing.assert_allclose(x.centres, [0.25, 0.75, 1.25, 1.75])
    np.testing.assert_allclose(y.centres, [-0.5, 0.5, 1.5])
    assert FLOW.extent == (2.0, 3.0)
    assert (x.has_walls, y.has_walls) == (False, True)


def test_a_spec_equals_its_round_trip_through_json() -> None:
    document = json.loads(json.dumps(FLOW.to_json()))
    assert TypeAdapter(Spec).validate_python(document) == FLOW


@pytest.mark.parametrize(
    ("changes", "location"),
    [
        ({"fields": []}, "fields"),
        ({"sites": {"kind": "grid", "axes": []}}, "sites.Grid.axes"),
        ({"sites": {"kind": "grid", "axes": [X_AXIS | {"size": 0}]}}, "sites.Grid.axes.0.size"),
        ({"sites": {"kind": "grid", "axes": [X_AXIS | {"size": -4}]}}, "sites.Grid.axes.0.size"),
        ({"sites": {"kind": "particles", "count": 0, "dimension": 3}}, "sites.Particles.count"),
        ({"sites": {"kind": "particles", "count": 2, "dimension": 0}}, "sites.Particles.dimension"),
        ({"sites": {"kind": "particles", "count": 2, "dimension": 4}}, "sites.Particles.dimension"),
    ],
)
def test_a_document_has_at_least_one_field_and_one_site(changes: dict[str, object], location: str) -> None:
    with pytest.raises(ValidationError) as error_info:
        TypeAdapter(Spec).validate_python(FLOW.to_json() | changes)
    assert location in {".".join(map(str, error["loc"])) for error in error_info.value.errors()}


def test_a_spec_prints_its_name_its_sites_and_its_fields() -> None:
    assert repr(FLOW) == "Spec flow: 4x3 cells, density, velocity"
