"""The loss of the mean drift: conserved means, other means, and the lattice."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from simsurrogate.spec import Field
from surrogates.contract import Problem
from tests.support import problems
from tests.support.trainings.pinn_cases import build, random_batch


def flow_problem(conserved: bool = True) -> Problem:
    """Return a problem of a velocity with divergence 0 and curl 0 in a periodic square."""

    def residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        u, v = fields["velocity_x"], fields["velocity_y"]
        return {
            "divergence": derivative(u, "x") + derivative(v, "y"),
            "curl": derivative(v, "x") - derivative(u, "y"),
        }

    def initial_condition(coordinates: Any, parameters: Any, xp: Any) -> dict[str, Any]:
        return {name: 0 * coordinates["x"] for name in ("velocity_x", "velocity_y", "conductivity")}

    velocity = Field("velocity", "m/s", "", 1, conserved=conserved, divergence_free=True)
    return problems.grid_problem(
        (8, 8), ("periodic",) * 2, fields=(velocity,), parametric=True,
        residual=residual, initial_condition=initial_condition,
    )  # fmt: skip


def test_the_loss_mean_measures_a_drift_that_satisfies_the_equations() -> None:
    surrogate = build(flow_problem(), data_weight=0.0)
    batch = random_batch(surrogate)
    with torch.no_grad():
        for weight in surrogate.parameters():
            weight.zero_()
        surrogate.ansatz.network.layers[-1].bias.copy_(torch.tensor([3.0, 0.0]))
    losses = surrogate(batch)
    assert losses["residual_divergence"] == losses["residual_curl"] == 0
    # The drift grows with t / (t + τ) and the times are uniform. Only one of the two channels drifts. The
    # second channel changes by its standard deviation in τ = 4 frames of 0.25 s.
    growth = 1 - 1 / (1 + np.linspace(0, 2, 1001))
    assert losses["mean"].item() == pytest.approx(9 * np.mean(growth**2) / 2, rel=0.15)


def test_a_mean_velocity_that_is_not_conserved_has_no_loss() -> None:
    # The mean velocity of a forced flow changes.
    surrogate = build(flow_problem(conserved=False), data_weight=0.0)
    assert surrogate.mean_drift.channels == []
    assert set(surrogate(random_batch(surrogate))) == {"residual_divergence", "residual_curl"}


def test_resolved_waves_have_no_mean_on_the_lattice() -> None:
    surrogate = build(flow_problem(), data_weight=0.0, waves=2)
    x, y = surrogate.mean_drift.lattice.T
    for mode in (1, 2, 3, 4):
        for wave in (torch.sin(math.pi * mode * x), torch.cos(math.pi * (x + mode * y))):
            assert wave.mean().abs() < 1e-12
    assert "mean" not in build(problems.fading_problem())(random_batch(build(problems.fading_problem())))
