"""Layers, heaters at fixed places, and the heat flux through walls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simsurrogate.errors import UserError
from tests.support.heat_cases import final_state, heat, prepare_trajectory

LAYERS = {
    "kind": "layers",
    "axis": "x",
    "thicknesses": [0.25, 0.125, 0.625],
    "ranges": [[0.5, 1.0], [0.01, 0.05], [0.2, 0.4]],
}
BAR = {
    "extent": [1.0],
    "boundary": {"x": "dirichlet"},
    "boundary_values": {"x": [1.0, 3.0]},
    "initial": {"kind": "zero"},
    "wall_fluxes": ["x_lower", "x_upper"],
    "tolerance": 1e-6,
}
BLOCKS = [
    {"lower": [0.1, 0.2, 0.3], "upper": [0.6, 0.93, 0.41], "power": [1.0, 2.0]},
    {"lower": [0.5, 1.2, 0.3], "upper": [0.9, 1.9, 0.5], "power": [1.0, 2.0]},
]
BOX = {
    "extent": [1.0, 2.0, 0.5],
    "boundary": {"x": "neumann", "y": "neumann", "z": "dirichlet"},
    "diffusivity": {"kind": "constant"},
    "initial": {"kind": "zero"},
    "blocks": BLOCKS,
}


# The grid of 16 cells has its faces at the interfaces, and the grid of 13 cells has interfaces inside cells.
@pytest.mark.parametrize("resolution", [16, 13])
def test_the_steady_flux_through_layers_is_exact(resolution: int) -> None:
    solver = heat(**BAR, diffusivity=LAYERS, resolution=resolution)
    k = {"diffusivity_1": 0.8, "diffusivity_2": 0.03, "diffusivity_3": 0.3}
    trajectory = prepare_trajectory(solver, **k)
    fluxes = trajectory.quantities(final_state(trajectory, 60.0))
    resistance = sum(length / value for length, value in zip([0.25, 0.125, 0.625], k.values(), strict=True))
    assert fluxes["flux_x_upper"] == pytest.approx(-2.0 / resistance, rel=1e-7)
    assert fluxes["flux_x_lower"] == pytest.approx(2.0 / resistance, rel=1e-7)


def test_only_the_scalars_determine_a_trajectory() -> None:
    spec = heat(**BAR, diffusivity=LAYERS, resolution=16).spec
    assert spec.parametric
    assert not spec.coefficient_fields
    assert not spec.smooth_coefficients
    assert spec.parameter_names == ("diffusivity_1", "diffusivity_2", "diffusivity_3")
    assert heat(**BOX, resolution=8).spec.linear_in == ("power_1", "power_2")


@pytest.mark.parametrize("resolution", [5, 8, [12, 10, 9]])
def test_the_power_of_blocks_does_not_depend_on_the_grid(resolution: int | list[int]) -> None:
    solver = heat(**BOX, resolution=resolution)
    trajectory = prepare_trajectory(solver, power_1=1.25, power_2=1.75)
    start = trajectory.initial_state
    assert not start.any()
    ((_, source),) = trajectory.source.constant_intervals(0.0, 0.1)
    assert source is not None
    assert np.sum(source) * solver.grid.cell_volume == pytest.approx(3.0, rel=1e-12)


def test_the_walls_take_the_power_of_the_blocks_in_the_steady_state() -> None:
    solver = heat(**BOX, resolution=8, wall_fluxes=["z_lower", "z_upper"])
    trajectory = prepare_trajectory(solver, power_1=1.25, power_2=1.75)
    fluxes = trajectory.quantities(final_state(trajectory, 60.0))
    assert sum(fluxes.values()) == pytest.approx(3.0, rel=1e-9)
    assert fluxes["flux_z_upper"] > fluxes["flux_z_lower"] > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({**BAR, "diffusivity": LAYERS | {"axis": "z"}}, "axis=z is no axis of a box with 1 lengths"),
        (
            {**BAR, "diffusivity": LAYERS | {"thicknesses": [0.5, 0.25, 0.5]}},
            r"add up to 1.25 m, and the box is 1 m long along x",
        ),
        (
            {**BAR, "diffusivity": LAYERS | {"ranges": [[0.1, 0.2]]}},
            "ranges has 1 ranges for 3 layers",
        ),
        (
            {**BAR, "diffusivity": LAYERS | {"ranges": [[0.1, 0.2], [0.3, 0.2], [0.1, 0.2]]}},
            r"diffusivity.ranges\[1\]=\[0.3, 0.2\] is not a range",
        ),
        ({**BAR, "diffusivity": LAYERS, "resolution": 4}, "thinner than a cell of 0.25 m along x"),
        ({**BOX, "blocks": [BLOCKS[0] | {"lower": [0.1]}]}, r"blocks\[0\] has corners of 1 and 3 numbers"),
        ({**BOX, "blocks": [BLOCKS[0] | {"upper": [0.6, 9.0, 0.4]}]}, "reaches from 0.2 m to 9 m along y"),
        (
            {**BOX, "blocks": [BLOCKS[0] | {"power": [2.0, 1.0]}]},
            r"blocks\[0\].power=\[2, 1\] is not a range",
        ),
        ({**BOX, "wall_fluxes": ["x_lower"]}, "the wall x_lower is at an axis that is neumann"),
        ({**BAR, "wall_fluxes": ["z_lower"]}, "the wall z_lower is at an axis that is absent"),
        ({**BAR, "wall_fluxes": ["x_lower", "x_lower"]}, "the wall x_lower is named twice"),
    ],
)
def test_wrong_layers_blocks_and_walls_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        heat(**{"resolution": 16} | changes)
