"""Flows that fail: states that are not finite, and unstable steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.data.manifest import read_complete_manifest
from solvers.contract import DivergedError
from tests.support.in_process import generate_in_process
from tests.support.navier_stokes_cases import LIVELY_FLOW, NO_FORCING, flow, sample_parameters


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("channel", [0, 3])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_state_that_is_not_finite_fails_the_trajectory(value: float, channel: int) -> None:
    solver = flow(**LIVELY_FLOW)
    parameters = sample_parameters(solver)
    trajectory = solver.prepare(parameters)
    state = trajectory.initial_state.copy()
    state[channel, 3, 4] = value
    with pytest.raises(DivergedError, match="not finite"):
        trajectory.advance(state, 0.0, 0.1)
    # A new trajectory of the same solver is unaffected by the failure.
    next_trajectory, reference = solver.prepare(parameters), flow(**LIVELY_FLOW).prepare(parameters)
    initial_state = reference.initial_state
    assert np.array_equal(
        next_trajectory.advance(initial_state, 0.0, 0.1), reference.advance(initial_state, 0.0, 0.1)
    )


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_blow_up_and_overflow_fail_the_trajectory() -> None:
    inviscid_parameters = {"viscosity": 0.0, "hyperviscosity": 0.0, "drag": 0.0}
    # The declared time step of 5 s is 200 times the stable time step.
    solver = flow(**LIVELY_FLOW | {"viscosity": [2.5e-3, 2.5e-3]}, **NO_FORCING, time_step=5.0)
    trajectory = solver.prepare(sample_parameters(solver) | inviscid_parameters)
    with pytest.raises(DivergedError, match=r"a step of 5 s results in non-finite values"):
        trajectory.advance(100 * trajectory.initial_state, 0.0, 100.0)
    solver = flow(**LIVELY_FLOW, **NO_FORCING)
    trajectory = solver.prepare(sample_parameters(solver) | inviscid_parameters | {"amplitude": 1e200})
    with pytest.raises(DivergedError):
        trajectory.advance(trajectory.initial_state, 0.0, 0.1)


@pytest.mark.fault(
    "flows become unstable",
    cause="steps of 0.2 s for fast vortices",
    result="these flows are left out, with their parameters and the reason",
    lost="the unstable flows",
)
def test_generate_omits_unstable_flows_and_records_their_parameters(tmp_path: Path) -> None:
    options = (
        "solver=navier_stokes", "solver.resolution=32", "solver.viscosity=[0.01,0.01]",
        "solver.initial={kind: vortices, amplitude: [0.1, 12.0], radius: [0.1, 0.15]}",
        "solver.forcing.kind=none", "solver.time_step=0.2",
        "samples={train: 8, valid: 1, test: 1, test_extrapolation: 0, per_shard: 4}",
        "output={duration: 4.0, steps: 4}", "storage.max_failed_share=0.9",
    )  # fmt: skip
    manifest = read_complete_manifest(generate_in_process(tmp_path, *options))
    assert 0 < len(manifest.failed) < 8
    for failure in manifest.failed:
        assert (
            failure.reason == "a step of 0.2 s results in non-finite values or an error above the tolerance"
        )
        assert failure.parameters["amplitude"] > 4
    assert sum(shard.trajectories for shard in manifest.shards) + len(manifest.failed) == 10
