"""Options that the Navier-Stokes solver refuses, with messages that name valid options."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import yaml
from mpi4py import MPI

import configs
from simsurrogate.errors import UserError
from solvers.navier_stokes import NavierStokes
from solvers.navier_stokes.linear_terms import HyperviscosityOptions
from solvers.navier_stokes.tracer import TracerOptions
from tests.support.navier_stokes_cases import NO_FORCING, flow, prepare_trajectory

RING_FORCING: dict[str, Any] = {"kind": "ring", "ring": [20.0, 64.0]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"resolution": 63},
            r"resolution=\[63, 63\].*even number of cells, at least 8. Type solver.resolution=\[64,64\]",
        ),
        ({"resolution": [64, 6]}, r"resolution=\[64, 6\].*Type solver.resolution=\[64,8\]"),
        ({"resolution": [64, 64, 64]}, r"solver.resolution"),
        ({"extent": [1.0]}, r"solver.extent=\[1.0\].*with at least 2 items and with at most 2 items"),
        ({"extent": [1.0, -1.0]}, r"solver.extent=\[1.0, -1.0\].*greater than 0"),
        (
            {"viscosity": [2e-3, 1e-3]},
            r"solver.viscosity=\[0.002, 0.001\].*lower end must come first. Type solver.viscosity=.0.001",
        ),
        ({"viscosity": [-1e-3, 1e-3]}, r"solver.viscosity=\[-0.001, 0.001\].*at least 0"),
        (
            {"viscosity": [0.0, 0.0]},
            r"viscosity and solver.hyperviscosity.range both have the lower end 0.*Type solver.viscosity=",
        ),
        ({"hyperviscosity": {"order": 1}}, r"solver.hyperviscosity.order=1.*at least 2"),
        ({"forcing": {"kind": "wind"}}, r"solver.forcing.kind='wind': there is no such kind.*'ring'"),
        ({"forcing": RING_FORCING | {"renewal": 0.0}}, r"solver.forcing.*renewal=0.0.*greater than 0"),
        (
            {"forcing": {"amplitude": [0.2, 0.1]}},
            r"solver.forcing.amplitude=\[0.2, 0.1\].*lower end must come first",
        ),
        (
            {"forcing": RING_FORCING | {"ring": [7.0, 8.0]}},
            r"ring=\[7, 8\] rad/m holds no wave.*6.283, 6.283 rad/m",
        ),
        ({"initial": {"kind": "rest"}}, r"solver.initial.kind='rest': there is no such kind"),
        ({"tracer": {"presence": True}}, r"solver.tracer.presence.*did you mean 'present'"),
        ({"time_step": 0.0}, r"solver.time_step=0.0.*greater than 0"),
        ({"tolerance": 0}, r"solver.tolerance=0.*greater than 0"),
    ],
)
def test_wrong_options_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        flow(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tracer": {"modes": 8}}, "solver.tracer.modes=8 has no effect"),
        ({"hyperviscosity": {"order": 3}}, "solver.hyperviscosity.order=3 has no effect"),
        ({"time_step": 0.01, "tolerance": 1e-4}, "solver.tolerance=0.0001 has no effect"),
        (
            {"forcing": {"wave_number": 3}},
            "solver.forcing.wave_number=3 has no effect with solver.forcing.kind=diagonal",
        ),
        (
            {"initial": {"amplitude": [1.0, 1.0]}},
            "solver.initial.amplitude=.* has no effect with solver.initial.kind=matern",
        ),
    ],
)
def test_options_without_effect_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        flow(**changes)


def test_the_defaults_of_options_without_effect_equal_the_yaml() -> None:
    options = yaml.safe_load((Path(configs.__path__[0]) / "solver" / "navier_stokes.yaml").read_text())
    tracer = {
        name: tuple(value) if isinstance(value, list) else value for name, value in options["tracer"].items()
    }
    tracer["diffusivity"] = tuple(map(float, tracer["diffusivity"]))
    assert TracerOptions(**tracer) == TracerOptions(present=False)
    assert HyperviscosityOptions(range=(0.0, 0.0)).order == options["hyperviscosity"]["order"]
    arguments = inspect.signature(NavierStokes).parameters
    assert arguments["tolerance"].default == float(options["tolerance"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # The shortest of 21 waves has 2 pi 21 = 131.9 rad/m. Its square times 1e-6 m^2/s is 0.0174 1/s.
        ({"viscosity": [1e-6, 1e-3]}, r"viscosity=1e-06 m\^2/s cannot.*131.9 rad/m is damped at 0.0174 1/s"),
        (
            {"forcing": {"amplitude": [1e4, 1e4]}},
            r"strained at about 100 1/s by solver.forcing.kind=diagonal",
        ),
        (
            {"viscosity": [0.0, 1e-3], "hyperviscosity": {"order": 2, "range": [1e-10, 1e-9]}},
            r"viscosity=0 m\^2/s and hyperviscosity=1e-10 m\^4/s cannot be resolved",
        ),
        (
            {"forcing": {"kind": "kolmogorov", "wave_number": 30}},
            r"forcing.wave_number=30 exceeds the largest wave number 21 .*at least 92 cells along y",
        ),
        (
            {"forcing": RING_FORCING, "resolution": 32},
            r"forcing.ring=\[20, 64\] rad/m exceeds the largest wave number 62.83 rad/m",
        ),
        (
            {"initial": {"kind": "random_field", "correlation_length": 0.005, "modes": 64}},
            r"field of solver.initial: .* % of the variance is in waves too short.*solver.initial.corr",
        ),
        (
            {"initial": {"kind": "taylor_green", "waves": 22}},
            r"solver.initial.kind=taylor_green: 100 % .*or fewer solver.initial.waves \(22\)",
        ),
        (
            {"initial": {"kind": "vortices", "radius": [0.0147, 0.08]}},
            r"lower end 0.0147 m of solver.initial.radius",
        ),
        (
            {"initial": {"kind": "shear_layers", "thickness": [0.0147, 0.05]}},
            r"lower end 0.0147 m of solver.initial.thickness",
        ),
        (
            {"tracer": {"present": True, "correlation_length": 0.005, "modes": 64}},
            r"random field of solver.tracer.*longer solver.tracer.correlation_length \(0.005 m\)",
        ),
    ],
)
def test_an_unresolved_flow_is_refused_with_a_resolution_that_suffices(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as error_info:
        flow(**changes)
    text = str(error_info.value)
    suggestion = re.search(r"solver.resolution=(\[\d+,\d+\]) or finer", text)
    resolution = [int(count) for count in re.findall(r"\d+", suggestion[1])] if suggestion else [64, 92]
    if max(resolution) < 400:
        assert np.all(np.isfinite(prepare_trajectory(**changes | {"resolution": resolution}).initial_state))
    # A viscosity just below the least viscosity of the message is refused.
    if limit := re.search(r"viscosity of at least (\S+)", text):
        least_viscosity = 1.01 * float(limit[1])
        assert flow(**changes | {"viscosity": [least_viscosity, least_viscosity]})
        with pytest.raises(UserError, match="cannot be resolved"):
            flow(**changes | {"viscosity": [0.98 * least_viscosity, least_viscosity]})


def test_a_tracer_without_sufficient_diffusion_is_refused() -> None:
    # 32 cells keep 10 waves: (20 pi)^2 = 3948 rad^2/m^2. The initial state strains at 2 1/s.
    changes: dict[str, Any] = {
        "resolution": 32,
        "viscosity": [1e-3, 1e-3],
        "initial": {"kind": "random_field", "amplitude": [1.0, 2.0], "modes": 6, "correlation_length": 0.3},
    }
    for diffusivity, message in (
        (
            [0.0, 0.0],
            r"tracer.diffusivity=0 m\^2/s.*damped at 0 1/s.*strained at about 2 1/s.*least 0.000507",
        ),
        ([5e-4, 1e-3], r"tracer.diffusivity=0.0005 m\^2/s.*damped at 1.97 1/s.*solver.resolution=\[34,34\]"),
    ):
        with pytest.raises(UserError, match=message):
            flow(**changes, tracer={"present": True, "diffusivity": diffusivity, "modes": 6})
    assert flow(**changes, tracer={"present": True, "diffusivity": [5.1e-4, 1e-3], "modes": 6})
    assert flow(**changes)


def test_more_ranks_than_rows_are_refused() -> None:
    communicator = cast(MPI.Intracomm, SimpleNamespace(size=9, rank=0))
    with pytest.raises(UserError, match="9 ranks cannot share a grid of 8 rows"):
        flow(
            communicator,
            resolution=[8, 64],
            viscosity=[1.0, 1.0],
            initial={"kind": "taylor_green"},
            **NO_FORCING,
        )


def test_hyperviscosity_replaces_viscosity() -> None:
    assert flow(viscosity=[0.0, 0.0], hyperviscosity={"order": 2, "range": [1e-7, 1e-7]})
