"""What the heat solver refuses, with the numbers that help."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from solvers.contract import DivergedError
from tests.support.heat_cases import heat, sampled


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"resolution": [64, 64, 64]},
            r"resolution=\[64, 64, 64\] has 3 numbers and extent=\[1.0, 1.0\] has 2",
        ),
        ({"resolution": 1}, r"solver.resolution.*greater than or equal to 2"),
        ({"extent": []}, r"solver.extent=\[\].*at least 1 item"),
        ({"extent": [1.0, -1.0]}, r"solver.extent.1=-1.0.*greater than 0"),
        ({"boundary": {"x": "open"}}, r"solver.boundary.x='open'.*'periodic', 'dirichlet' or 'neumann'"),
        ({"boundary": {"w": "periodic"}}, r"solver.boundary.w: there is no such key"),
        ({"boundary_values": {"x": [1.0]}}, r"solver.boundary_values.x.1: is required"),
        (
            {"diffusivity": {"range": [0.3, 0.1]}},
            r"diffusivity.range=\[0.3, 0.1\]: the lower end comes first",
        ),
        ({"diffusivity": {"range": [0.0, 0.1]}}, r"solver.diffusivity.range.0=0.0.*greater than 0"),
        ({"diffusivity": {"kind": "linear"}}, r"solver.diffusivity.kind='linear'.*'constant', 'lognormal'"),
        ({"diffusivity": {"contrasts": [1, 2]}}, r"solver.diffusivity.contrasts.*did you mean 'contrast'"),
        ({"heaters": {"count": -1}}, r"solver.heaters.count=-1.*greater than or equal to 0"),
        ({"initial": {"amplitude": ["hot", 1]}}, r"solver.initial.amplitude.0='hot'.*valid number"),
        ({"scheme": "exact"}, r"scheme=exact needs diffusivity.kind=constant; use automatic, adi or rkl2"),
        (
            {"extent": [1.0, 1.0, 1.0], "scheme": "adi", "time_step": 0.1},
            r"time_step=0.1 s with scheme=adi in three dimensions could grow unseen.*set it to null",
        ),
        ({"time_step": 0.0}, r"solver.time_step=0.0.*greater than 0"),
        (
            {"time_step": 0.1, "diffusivity": {"kind": "constant"}},
            r"time_step=0.1 s has no use: the exact scheme",
        ),
        ({"tolerance": 0}, r"solver.tolerance=0.*greater than 0"),
    ],
)
def test_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        heat(**changes)


def test_a_step_of_euler_over_the_limit_is_refused_with_the_limit() -> None:
    # h = 1/64 m, k = 0.3 m^2/s: 1 / (2 k (64^2 + 64^2)) = 2.03e-4 s.
    constant = {"kind": "constant"}
    with pytest.raises(
        ValueError, match=r"time_step=0.0003 s exceeds the stable limit 0.000203 s.*0.0156, 0.0156 m"
    ):
        heat(scheme="euler", time_step=3e-4, diffusivity=constant)
    solver = heat(scheme="euler", time_step=2e-4, diffusivity=constant)
    parameters = sampled(solver)
    assert np.all(np.isfinite(solver.advance(solver.initial_state(parameters), parameters, 0.0, 0.01)))
    # A trajectory beyond the declared range cannot be seen before it is drawn.
    parameters["diffusivity"] = 1.0
    with pytest.raises(DivergedError, match=r"0.0002 s exceeds the stable limit 6.1e-05 s"):
        solver.advance(solver.initial_state(parameters), parameters, 0.0, 0.01)


@pytest.mark.parametrize("name", ["log_deviation", "amplitude"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_overflow_is_a_diverged_trajectory(name: str) -> None:
    solver = heat(resolution=8)
    parameters = sampled(solver) | {name: 1e308}
    with pytest.raises(DivergedError):
        solver.advance(solver.initial_state(parameters), parameters, 0.0, 0.1)


@pytest.mark.parametrize("kind", ["random_field", "modes", "lognormal"])
def test_a_grid_that_would_alias_a_random_field_is_refused_with_one_that_does_not(kind: str) -> None:
    # Periodic, all modes alike: (8 - 1) 9 - 1 of the 16^2 - 1 have fewer half waves than 8 and 9 cells.
    group = "diffusivity" if kind == "lognormal" else "initial"
    short: dict[str, Any] = {"diffusivity": {"kind": "constant"}}
    short[group] = {"kind": kind, "correlation_length": 1e-3}
    remedy = "fewer initial.modes" if kind == "modes" else rf"a longer {group}.correlation_length \(0.001 m\)"
    message = rf"{kind}: 75.[57] % of .*resolution=\[8, 9\], more than 2 %.*\[17, 17\].*{remedy}"
    with pytest.raises(ValueError, match=message):
        heat(**short, resolution=[8, 9])
    shown = []
    for resolution in (17, 40):
        solver = heat(**short, resolution=resolution)
        parameters = sampled(solver)
        if kind == "lognormal":
            field = np.log(solver.coefficients(parameters)[0] / parameters["mean_diffusivity"])
        else:
            field = solver.initial_state(parameters)
        shown.append([np.mean(field) + 1, np.mean(field**2)])
    assert np.allclose(shown[0], shown[1], rtol=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"initial": {"kind": "blobs", "width": [0.05, 0.5]}},
            r"the least of initial.width: 0.05 m is less than 0.5 cells of 0.125 m along y.*\[16, 20\]",
        ),
        (
            {"heaters": {"count": 1, "width": [0.06, 0.5]}},
            r"the least of heaters.width: 0.06 m is less than 0.5 cells.*\[16, 17\].*at least 0.0625 m",
        ),
        (
            {"diffusivity": {"kind": "inclusions", "inclusion_radius": [0.05, 0.12]}},
            r"the largest of diffusivity.inclusion_radius: 0.12 m is less than 1 cells.*\[16, 17\]",
        ),
    ],
)
def test_what_is_smaller_than_a_cell_is_refused_with_a_grid_that_shows_it(
    changes: dict[str, Any], message: str
) -> None:
    box = {"extent": [1.0, 2.0]}
    with pytest.raises(ValueError, match=message):
        heat(**changes, **box, resolution=16)
    cells = 20 if "initial" in changes else 17
    assert heat(**changes, **box, resolution=[16, cells]).spec.axes[1].size == cells
