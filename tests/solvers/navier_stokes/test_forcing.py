"""Random ring forcing of the Navier-Stokes equation: its rate and its ring, a function of time."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from tests.support.heat_cases import error
from tests.support.navier_stokes_cases import flow, sampled, with_vorticity

RING: dict[str, Any] = {
    "resolution": [32, 28],
    "extent": [1.0, 0.8],
    "forcing": {"kind": "ring", "ring": [20.0, 55.0], "injection_rate": [1e-3, 1e-3], "renewal": 0.05},
}
#: Waves of `RING`: k^2 = (2 pi x)^2 + (2 pi y / 0.8)^2 between 20^2 and 55^2, one of each pair k, -k.
WAVES = (
    sum(
        20**2 <= (2 * np.pi * x) ** 2 + (2 * np.pi * y / 0.8) ** 2 <= 55**2
        for x in range(-9, 10)
        for y in range(-9, 10)
    )
    // 2
)


def test_energy_is_injected_at_the_stated_mean_rate() -> None:
    # From rest and without viscosity the mean energy after n intervals is e n T, whatever the flow does.
    # That of each wave is exponentially distributed: the mean of so many has a standard deviation of 1.4 %.
    solver = flow(**RING)
    rng = np.random.default_rng(3)
    rest = with_vorticity(np.zeros(solver.grid.block_shape))
    found = []
    for _ in range(100):
        parameters = solver.sample(rng) | {"viscosity": 0.0}
        state = solver.prepare(parameters).advance(rest, 0.0, 0.5)
        found.append(solver.prepare(parameters).invariants(state)["energy"])
    deviation = 1 / np.sqrt(WAVES * len(found))
    assert deviation < 0.02
    assert np.mean(found) == pytest.approx(1e-3 * 0.5, rel=4 * deviation)
    assert np.std(found) > 0.02 * np.mean(found)


def test_one_interval_has_the_waves_of_the_ring_alone() -> None:
    solver = flow(**RING)
    rest = with_vorticity(np.zeros(solver.grid.block_shape))
    # So short a time that f does not turn: w = f t.
    vorticity = solver.prepare(sampled(solver)).advance(rest, 0.0, 1e-6)[0] / 1e-6
    power = np.abs(np.fft.fft2(vorticity)) ** 2
    x, y = (2 * np.pi * np.fft.fftfreq(n, length / n) for n, length in ((32, 1.0), (28, 0.8)))
    wave_number = np.hypot(x[:, None], y)
    inside = (wave_number >= 20) & (wave_number <= 55)
    assert np.sum(inside) == 2 * WAVES
    assert np.min(power[inside]) > 1e-8 * np.max(power)
    assert np.max(power[~inside]) < 1e-8 * np.min(power[inside])


def test_the_output_cadence_does_not_change_the_forcing() -> None:
    solver = flow(**RING, tolerance=1e-9)
    parameters = sampled(solver)
    start = solver.prepare(parameters).initial_state
    once = solver.prepare(parameters).advance(start, 0.0, 0.3)
    for times in (np.linspace(0, 0.3, 7), np.linspace(0, 0.3, 12), [0.0, 0.01, 0.26, 0.3]):
        state = start
        for time, end in itertools.pairwise(times):
            state = solver.prepare(parameters).advance(state, time, end - time)
        assert error(state, once) < 1e-8
    other = parameters | {"forcing_key": parameters["forcing_key"][::-1].copy()}
    assert error(solver.prepare(other).advance(start, 0.0, 0.3), once) > 0.1
    assert error(solver.prepare(parameters).advance(start, 10.0, 0.3), once) > 0.1


def test_the_forcing_is_the_same_field_on_a_finer_grid() -> None:
    coarse, fine = flow(**RING), flow(**RING | {"resolution": [96, 84]})
    parameters = sampled(coarse)
    ends = [
        solver.prepare(parameters).advance(with_vorticity(np.zeros(solver.grid.block_shape)), 0.02, 1e-6)
        for solver in (coarse, fine)
    ]
    assert error(ends[1][:, 1::3, 1::3], ends[0]) < 1e-9


def test_only_the_ring_depends_on_time_and_is_no_arithmetic_of_the_fields() -> None:
    ring, steady = flow(**RING), flow()
    assert steady.spec.autonomous
    assert not ring.spec.autonomous
    fields = {name: 0.0 for name in ("velocity_x", "velocity_y", "vorticity", "forcing", "t")}
    assert "vorticity" in steady.residual(fields, lambda values, axis: 0.0, sampled(steady))
    assert "vorticity" not in ring.residual(fields, lambda values, axis: 0.0, sampled(ring))
