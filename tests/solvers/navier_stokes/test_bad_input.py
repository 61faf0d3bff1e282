"""What the Navier-Stokes solver refuses, with the numbers that help, and how its trajectories fail."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from mpi4py import MPI

from pipeline.data.manifest import complete_manifest
from solvers.contract import DivergedError
from tests.support.launching import stage, succeeded
from tests.support.navier_stokes_cases import LIVELY, UNFORCED, flow, sampled

RING: dict[str, Any] = {"kind": "ring", "ring": [20.0, 64.0]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resolution": 63}, r"resolution=\[63, 63\].*even number of cells, at least 8; use \[64, 64\]"),
        ({"resolution": [64, 6]}, r"resolution=\[64, 6\].*use \[64, 8\]"),
        ({"resolution": [64, 64, 64]}, r"solver.resolution"),
        ({"extent": [1.0]}, r"solver.extent.*at least 2 items"),
        ({"extent": [1.0, -1.0]}, r"solver.extent.1=-1.0.*greater than 0"),
        ({"viscosity": [2e-3, 1e-3]}, r"viscosity=\[0.002, 0.001\]: the lower end comes first"),
        ({"viscosity": [-1e-3, 1e-3]}, r"solver.viscosity.0=-0.001.*greater than or equal to 0"),
        (
            {"viscosity": [0.0, 0.0]},
            r"viscosity and hyperviscosity may both be 0.*raise the lower end of one",
        ),
        ({"hyperviscosity": {"order": 1}}, r"solver.hyperviscosity.order=1.*greater than or equal to 2"),
        ({"forcing": {"kind": "wind"}}, r"solver.forcing.kind='wind'.*'none', 'kolmogorov'"),
        ({"forcing": {"renewal": 0.0}}, r"solver.forcing.renewal=0.0.*greater than 0"),
        (
            {"forcing": {"amplitude": [0.2, 0.1]}},
            r"forcing.amplitude=\[0.2, 0.1\]: the lower end comes first",
        ),
        ({"forcing": RING | {"ring": [7.0, 8.0]}}, r"ring=\[7, 8\] rad/m holds no wave.*6.283, 6.283 rad/m"),
        ({"initial": {"kind": "rest"}}, r"solver.initial.kind='rest'.*'taylor_green'"),
        ({"tracer": {"presence": True}}, r"solver.tracer.presence.*did you mean 'present'"),
        ({"time_step": 0.0}, r"solver.time_step=0.0.*greater than 0"),
        ({"tolerance": 0}, r"solver.tolerance=0.*greater than 0"),
    ],
)
def test_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        flow(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # kept(64) = 21: 2 pi 21 = 131.9 rad/m; 1e-6 of its square is 0.0174 1/s.
        ({"viscosity": [1e-6, 1e-3]}, r"viscosity=1e-06 m\^2/s cannot.*131.9 rad/m is damped at 0.0174 1/s"),
        ({"forcing": {"amplitude": [1e4, 1e4]}}, r"strained at about 100 1/s by forcing.kind=diagonal"),
        (
            {"viscosity": [0.0, 1e-3], "hyperviscosity": {"order": 2, "range": [1e-10, 1e-9]}},
            r"viscosity=0 m\^2/s and hyperviscosity=1e-10 m\^4/s cannot be resolved",
        ),
        (
            {"forcing": {"kind": "kolmogorov", "wave_number": 30}},
            r"forcing.wave_number=30 is beyond the 21 waves.*at least 92 cells there",
        ),
        ({"forcing": RING, "resolution": 32}, r"forcing.ring reaches 64 rad/m, beyond the 62.83 rad/m"),
        (
            {"initial": {"kind": "random_field", "correlation_length": 0.005, "modes": 64}},
            r"initial: its random field: .* % of its variance lies in waves too short.*longer initial.corr",
        ),
        (
            {"initial": {"kind": "taylor_green", "waves": 22}},
            r"initial.kind=taylor_green: 100 % .*or fewer initial.waves \(22\)",
        ),
        (
            {"initial": {"kind": "vortices", "radius": [0.0147, 0.08]}},
            r"the least of initial.radius: 0.0147 m",
        ),
        (
            {"initial": {"kind": "shear_layers", "thickness": [0.0147, 0.05]}},
            r"the least of initial.thickness",
        ),
        (
            {"tracer": {"present": True, "correlation_length": 0.005, "modes": 64}},
            r"tracer: its random field.*longer tracer.correlation_length \(0.005 m\)",
        ),
    ],
)
def test_what_a_grid_cannot_resolve_is_refused_with_one_that_does(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        flow(**changes)
    text = str(refused.value)
    named = re.search(r"resolution=(\[\d+, \d+\]) or finer", text)
    enough = [int(number) for number in re.findall(r"\d+", named[1])] if named else [64, 92]
    solver = flow(**changes | {"resolution": enough}) if max(enough) < 400 else None
    if solver:
        assert np.all(np.isfinite(solver.prepare(sampled(solver)).initial_state))
    # The limit that it names is one.
    if limit := re.search(r"viscosity of at least (\S+)", text):
        least = 1.01 * float(limit[1])
        assert flow(**changes | {"viscosity": [least, least]})
        with pytest.raises(ValueError, match="cannot be resolved"):
            flow(**changes | {"viscosity": [0.98 * least, least]})


def test_more_ranks_than_rows_are_refused() -> None:
    many = cast(MPI.Intracomm, SimpleNamespace(size=9, rank=0))
    with pytest.raises(ValueError, match="9 ranks cannot share a grid of 8 rows"):
        flow(many, resolution=[8, 64], viscosity=[1.0, 1.0], initial={"kind": "taylor_green"}, **UNFORCED)


def test_hyperviscosity_counts_as_viscosity() -> None:
    assert flow(viscosity=[0.0, 0.0], hyperviscosity={"order": 2, "range": [1e-7, 1e-7]})


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("channel", [0, 3])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_state_that_is_not_finite_is_a_failed_trajectory(value: float, channel: int) -> None:
    solver = flow(**LIVELY)
    parameters = sampled(solver)
    start = solver.prepare(parameters).initial_state
    state = start.copy()
    state[channel, 3, 4] = value
    with pytest.raises(DivergedError, match="not finite"):
        solver.prepare(parameters).advance(state, 0.0, 0.1)
    # The next trajectory of the same solver is a good one.
    assert np.array_equal(
        solver.prepare(parameters).advance(start, 0.0, 0.1),
        flow(**LIVELY).prepare(parameters).advance(start, 0.0, 0.1),
    )


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_blow_up_and_overflow_are_failed_trajectories() -> None:
    # Two hundred times the stable step.
    solver = flow(**LIVELY | {"viscosity": [2.5e-3, 2.5e-3]}, **UNFORCED, time_step=5.0)
    parameters = sampled(solver) | {"viscosity": 0.0, "hyperviscosity": 0.0, "drag": 0.0}
    state = 100 * solver.prepare(parameters).initial_state
    with pytest.raises(DivergedError, match=r"a step of 5 s gives no finite flow"):
        solver.prepare(parameters).advance(state, 0.0, 100.0)
    solver = flow(**LIVELY, **UNFORCED)
    with pytest.raises(DivergedError):
        solver.prepare(parameters).advance(
            solver.prepare(parameters | {"amplitude": 1e200}).initial_state, 0.0, 0.1
        )


def test_flows_that_blow_up_are_left_out_with_their_parameters(tmp_path: Path) -> None:
    options = (
        f"run={tmp_path}", "solver=navier_stokes", "solver.resolution=32", "solver.viscosity=[0.01,0.01]",
        "solver.initial={kind: vortices, amplitude: [0.1, 12.0], radius: [0.1, 0.15]}",
        "solver.forcing.kind=none", "solver.time_step=0.2",
        "samples={train: 8, valid: 1, test: 1, test_extrapolation: 0, per_shard: 4}",
        "output={duration: 4.0, steps: 4}", "storage.max_failed_share=0.9",
    )  # fmt: skip
    succeeded(stage("generate", *options))
    manifest = complete_manifest(tmp_path / "dataset")
    assert 0 < len(manifest.failed) < 8
    for failure in manifest.failed:
        assert failure.reason == "a step of 0.2 s gives no finite flow of bounded error"
        assert failure.parameters["amplitude"] > 4
    assert sum(shard.trajectories for shard in manifest.shards) + len(manifest.failed) == 10
