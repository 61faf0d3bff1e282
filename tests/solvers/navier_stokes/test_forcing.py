"""Random ring forcing of the Navier-Stokes equation: rate, waves and dependence on time."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest

from simsurrogate.errors import UserError
from tests.support.heat_cases import relative_error
from tests.support.navier_stokes_cases import (
    flow,
    prepare_trajectory,
    sample_parameters,
    state_with_vorticity,
)

RING_FLOW: dict[str, Any] = {
    "resolution": [32, 28],
    "extent": [1.0, 0.8],
    "forcing": {"kind": "ring", "ring": [20.0, 55.0], "injection_rate": [1e-3, 1e-3], "renewal": 0.04},
}
#: The number of waves of `RING_FLOW`: k^2 = (2 pi x)^2 + (2 pi y / 0.8)^2 in [20^2, 55^2].
#: Each pair k, -k counts once.
NUM_WAVES = (
    sum(
        20**2 <= (2 * np.pi * x) ** 2 + (2 * np.pi * y / 0.8) ** 2 <= 55**2
        for x in range(-9, 10)
        for y in range(-9, 10)
    )
    // 2
)
STATE_AT_REST = state_with_vorticity(np.zeros((32, 28)))


def test_the_mean_rate_of_injected_energy_is_the_stated_rate() -> None:
    # From rest and without viscosity, the mean energy after n intervals of length T at the rate e is e n T.
    # The energy of a wave is exponentially distributed, so the standard deviation of the mean is 1.4 %.
    solver = flow(**RING_FLOW)
    rng = np.random.default_rng(3)
    energies = []
    for _ in range(100):
        trajectory = solver.prepare(solver.sample(rng) | {"viscosity": 0.0})
        energies.append(trajectory.invariants(trajectory.advance(STATE_AT_REST, 0.0, 0.5))["energy"])
    deviation = 1 / np.sqrt(NUM_WAVES * len(energies))
    assert deviation < 0.02
    assert np.mean(energies) == pytest.approx(1e-3 * 0.5, rel=4 * deviation)
    assert np.std(energies) > 0.02 * np.mean(energies)


@pytest.mark.parametrize("renewal", [0.02, 0.04])
def test_the_injected_share_of_the_method_is_a_lower_bound_of_the_measured_share(renewal: float) -> None:
    forcing = RING_FLOW["forcing"] | {"renewal": renewal, "ring": [20.0, 40.0]}
    solver = flow(**RING_FLOW | {"forcing": forcing, "viscosity": [2e-3, 2e-3]})
    stated = re.search(r"injects at least about (\d+) % of injection_rate", solver.method)
    assert stated
    # From rest, the energy and the dissipated energy 2 nu int Z dt add up to the injected energy.
    rng, times, shares = np.random.default_rng(3), np.linspace(0.0, 2.0, 101), []
    for _ in range(16):
        trajectory = solver.prepare(solver.sample(rng))
        state, enstrophies, energy = STATE_AT_REST, [0.0], 0.0
        for time, next_time in itertools.pairwise(times):
            state = trajectory.advance(state, time, next_time - time)
            invariants = trajectory.invariants(state)
            enstrophies.append(invariants["enstrophy"])
            energy = invariants["energy"]
        shares.append((energy + 2 * 2e-3 * np.trapezoid(enstrophies, times)) / (1e-3 * times[-1]))
    deviation = np.std(shares) / np.sqrt(len(shares))
    assert deviation < 0.03
    assert float(stated[1]) / 100 - 4 * deviation < np.mean(shares) < 1 + 4 * deviation


@pytest.mark.parametrize(("renewal", "share"), [(1.0, 34), (5.0, 8)])
def test_a_renewal_that_loses_the_stated_energy_is_refused(renewal: float, share: int) -> None:
    # nu k^2 + (e k^2)^(1/3) = 2e-3 1600 + (2e-3 1600)^(1/3) = 4.67 1/s for k = 40 rad/m.
    with pytest.raises(
        UserError, match=rf"renewal={renewal:g} s injects about {share} % of .*renewal=0.0\d+"
    ):
        flow(forcing={"kind": "ring", "renewal": renewal})
    assert "injects at least about 97 %" in flow(forcing={"kind": "ring"}).method


def test_one_interval_has_exactly_the_waves_of_the_ring() -> None:
    # After so short a time advection is negligible: w = f t.
    vorticity = prepare_trajectory(**RING_FLOW).advance(STATE_AT_REST, 0.0, 1e-6)[0] / 1e-6
    power = np.abs(np.fft.fft2(vorticity)) ** 2
    x, y = (2 * np.pi * np.fft.fftfreq(n, length / n) for n, length in ((32, 1.0), (28, 0.8)))
    wave_number = np.hypot(x[:, None], y)
    in_ring = (wave_number >= 20) & (wave_number <= 55)
    assert np.sum(in_ring) == 2 * NUM_WAVES
    assert np.min(power[in_ring]) > 1e-8 * np.max(power)
    assert np.max(power[~in_ring]) < 1e-8 * np.min(power[in_ring])


def test_the_output_cadence_does_not_change_the_forcing() -> None:
    solver = flow(**RING_FLOW, tolerance=1e-9)
    parameters = sample_parameters(solver)
    trajectory = solver.prepare(parameters)
    initial_state = trajectory.initial_state
    final_state = trajectory.advance(initial_state, 0.0, 0.3)
    for times in (np.linspace(0, 0.3, 7), np.linspace(0, 0.3, 12), [0.0, 0.01, 0.26, 0.3]):
        state = initial_state
        for time, next_time in itertools.pairwise(times):
            state = trajectory.advance(state, time, next_time - time)
        assert relative_error(state, final_state) < 1e-8
    other_trajectory = solver.prepare(parameters | {"forcing_key": parameters["forcing_key"][::-1].copy()})
    assert relative_error(other_trajectory.advance(initial_state, 0.0, 0.3), final_state) > 0.1
    assert relative_error(trajectory.advance(initial_state, 10.0, 0.3), final_state) > 0.1


def test_the_forcing_is_the_same_field_on_a_finer_grid() -> None:
    coarse_solver, fine_solver = flow(**RING_FLOW), flow(**RING_FLOW | {"resolution": [96, 84]})
    parameters = sample_parameters(coarse_solver)
    coarse_end, fine_end = (
        solver.prepare(parameters).advance(
            state_with_vorticity(np.zeros(solver.grid.block_shape)), 0.02, 1e-6
        )
        for solver in (coarse_solver, fine_solver)
    )
    assert relative_error(fine_end[:, 1::3, 1::3], coarse_end) < 1e-9


def test_only_the_ring_depends_on_time_and_has_no_vorticity_residual() -> None:
    ring_solver, steady_solver = flow(**RING_FLOW), flow()
    assert steady_solver.spec.autonomous
    assert not ring_solver.spec.autonomous
    fields = {name: 0.0 for name in ("velocity_x", "velocity_y", "vorticity", "forcing", "t")}
    assert "vorticity" in steady_solver.residual(
        fields, lambda values, axis: 0.0, sample_parameters(steady_solver)
    )
    assert "vorticity" not in ring_solver.residual(
        fields, lambda values, axis: 0.0, sample_parameters(ring_solver)
    )
