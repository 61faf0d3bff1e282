"""Options that the heat solver refuses, with messages that name the numbers and a remedy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simsurrogate.errors import UserError
from solvers.contract import DivergedError
from solvers.heat import Heat
from tests.support.heat_cases import final_state, heat, prepare_trajectory, sample_parameters


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"resolution": [64, 64, 64]},
            r"solver.resolution=\[64, 64, 64\] has 3 numbers, but solver.extent=\[1.0, 1.0\] has 2",
        ),
        ({"resolution": 1}, r"solver.resolution=1.*at least 2"),
        ({"extent": []}, r"solver.extent=\[\].*each a number greater than 0, with at least 1 items"),
        ({"extent": [1.0, -1.0]}, r"solver.extent=\[1.0, -1.0\].*greater than 0"),
        ({"boundary": {"x": "open"}}, r"solver.boundary.x='open'.*periodic or dirichlet or neumann"),
        ({"boundary": {"w": "periodic"}}, r"solver.boundary.w: there is no such key"),
        (
            {"boundary": {"x": "dirichlet"}, "boundary_values": {"x": [1.0]}},
            r"solver.boundary_values.x=\[1.0\].*a list of 2 items",
        ),
        (
            {"diffusivity": {"range": [0.3, 0.1]}},
            r"solver.diffusivity.range=\[0.3, 0.1\] is not a range.*diffusivity.range=\[0.1,0.3\]",
        ),
        ({"diffusivity": {"range": [0.0, 0.1]}}, r"solver.diffusivity.range=\[0.0, 0.1\].*greater than 0"),
        ({"diffusivity": {"kind": "metal"}}, r"solver.diffusivity.kind='metal'.*constant"),
        ({"diffusivity": {"contrasts": [1, 2]}}, r"solver.diffusivity.contrasts: there is no such key"),
        ({"heaters": {"count": -1}}, r"solver.heaters.count=-1.*at least 0"),
        ({"initial": {"amplitude": ["hot", 1]}}, r"solver.initial.amplitude=\['hot', 1\].*a number"),
        ({"scheme": "exact"}, r"solver.scheme=exact is not possible.*Type solver.diffusivity.kind=constant"),
        (
            {"extent": [1.0, 1.0, 1.0], "scheme": "adi", "time_step": 0.1},
            r"solver.time_step=0.1 s is not possible with solver.scheme=adi.*Type solver.time_step=null",
        ),
        ({"time_step": 0.0}, r"solver.time_step=0.0.*greater than 0"),
        (
            {"time_step": 0.1, "diffusivity": {"kind": "constant"}},
            r"solver.time_step=0.1 s has no effect, because the exact scheme",
        ),
        ({"tolerance": 0}, r"solver.tolerance=0.*greater than 0"),
    ],
)
def test_wrong_options_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        heat(**changes)


def test_options_without_effect_are_named_with_their_cause() -> None:
    options = {
        "extent": [1.0, 2.0],
        "boundary": {"x": "periodic", "y": "neumann", "z": "periodic"},
        "diffusivity": {"kind": "lognormal"},
        "heaters": {"count": 0, "rate": [1.0, 2.0], "width": [0.1, 0.2]},
        "scheme": "automatic",
        "time_step": None,
    }
    assert dict(Heat.unused_options(options)) == {
        "boundary.z": "two lengths in solver.extent",
        "boundary_values.x": "solver.boundary.x=periodic",
        "boundary_values.z": "two lengths in solver.extent",
        "heaters.rate": "solver.heaters.count=0",
        "heaters.width": "solver.heaters.count=0",
    }
    used_options = options | {
        "boundary": {"x": "dirichlet", "y": "neumann", "z": "periodic"},
        "heaters": {"count": 1},
    }
    assert dict(Heat.unused_options(used_options | {"extent": [1.0, 1.0, 1.0]})) == {
        "boundary_values.z": "solver.boundary.z=periodic"
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"diffusivity": {"kind": "constant", "log_deviation": [0.1, 0.2]}},
            "solver.diffusivity.log_deviation=",
        ),
        ({"initial": {"kind": "harmonics", "modes": 4}}, "solver.initial.modes=4 has no effect"),
        ({"heaters": {"rate": [1.0, 2.0]}}, "solver.heaters.rate="),
        (
            {"tolerance": 1e-3, "diffusivity": {"kind": "constant"}},
            "solver.tolerance=0.001 has no effect with solver.scheme=automatic and "
            "solver.diffusivity.kind=constant",
        ),
        (
            {"tolerance": 1e-3, "scheme": "exact", "diffusivity": {"kind": "constant"}},
            "solver.tolerance=0.001 has no effect with solver.scheme=exact",
        ),
        (
            {"tolerance": 1e-3, "scheme": "euler"},
            "solver.tolerance=0.001 has no effect with solver.scheme=euler",
        ),
        (
            {"tolerance": 1e-3, "time_step": 1e-3},
            "solver.tolerance=0.001 has no effect with solver.time_step=0.001",
        ),
    ],
)
def test_changed_options_without_effect_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        heat(**changes)


def test_a_step_of_euler_above_the_limit_is_refused() -> None:
    # h = 1/64 m, k = 0.3 m^2/s: 1 / (2 k (64^2 + 64^2)) = 2.03e-4 s.
    constant = {"kind": "constant"}
    with pytest.raises(
        UserError, match=r"solver.time_step=0.0003 s exceeds the stable limit 0.000203 s.*0.0156, 0.0156 m"
    ):
        heat(scheme="euler", time_step=3e-4, diffusivity=constant)
    solver = heat(scheme="euler", time_step=2e-4, diffusivity=constant)
    assert np.all(np.isfinite(final_state(prepare_trajectory(solver), 0.01)))
    # The solver learns a diffusivity outside the range only from the parameters of a trajectory.
    with pytest.raises(DivergedError, match=r"0.0002 s exceeds the stable limit 6.1e-05 s"):
        final_state(prepare_trajectory(solver, diffusivity=1.0), 0.01)


@pytest.mark.parametrize("name", ["log_deviation", "amplitude"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_overflow_fails_the_trajectory(name: str) -> None:
    trajectory = prepare_trajectory(heat(resolution=8), **{name: 1e308})
    with pytest.raises(DivergedError):
        final_state(trajectory, 0.1)


@pytest.mark.parametrize("kind", ["random_field", "modes", "lognormal"])
def test_a_grid_that_would_alias_a_random_field_is_refused(kind: str) -> None:
    # Periodic, equal modes: (8 - 1) 9 - 1 of the 16^2 - 1 modes have fewer half waves than 8 and 9 cells.
    group = "diffusivity" if kind == "lognormal" else "initial"
    changes_with_short_waves: dict[str, Any] = {"diffusivity": {"kind": "constant"}}
    changes_with_short_waves[group] = (
        {"kind": kind} if kind == "modes" else {"kind": kind, "correlation_length": 1e-3}
    )
    remedy = (
        "fewer solver.initial.modes"
        if kind == "modes"
        else rf"a longer solver.{group}.correlation_length \(0.001 m\)"
    )
    message = rf"{kind}: 75.[57] % of .*resolution=\[8, 9\]. At most 2 %.*\[17, 17\].*{remedy}"
    with pytest.raises(UserError, match=message):
        heat(**changes_with_short_waves, resolution=[8, 9])
    moments = []
    for resolution in (17, 40):
        solver = heat(**changes_with_short_waves, resolution=resolution)
        parameters = sample_parameters(solver)
        trajectory = solver.prepare(parameters)
        field = trajectory.initial_state
        if kind == "lognormal":
            field = np.log(trajectory.coefficient_fields[0] / parameters["mean_diffusivity"])
        moments.append([np.mean(field) + 1, np.mean(field**2)])
    assert np.allclose(moments[0], moments[1], rtol=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"initial": {"kind": "blobs", "width": [0.05, 0.5]}},
            r"solver.initial.width=0.05 m is too small.*0.125 m wide along y.* 0.5 cells.*\[16, 20\]",
        ),
        (
            {"heaters": {"count": 1, "width": [0.06, 0.5]}},
            r"solver.heaters.width=0.06 m is too small.* 0.5 cells, 0.0625 m.*\[16, 17\]",
        ),
        (
            {"diffusivity": {"kind": "inclusions", "inclusion_radius": [0.12, 0.15]}},
            r"solver.diffusivity.inclusion_radius=0.12 m is too small.*smallest.* 1 cells.*\[16, 17\]",
        ),
    ],
)
def test_sizes_below_the_cells_are_refused_with_a_sufficient_grid(
    changes: dict[str, Any], message: str
) -> None:
    box = {"extent": [1.0, 2.0]}
    with pytest.raises(UserError, match=message):
        heat(**changes, **box, resolution=16)
    num_cells = 20 if "initial" in changes else 17
    assert heat(**changes, **box, resolution=[16, num_cells]).spec.axes[1].size == num_cells
