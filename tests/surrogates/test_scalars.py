"""The surrogate `scalars`: quantities of interest with a standard deviation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from simsurrogate.errors import UserError
from surrogates import store
from surrogates.scalars import Scalars
from tests.support import problems
from tests.support.surrogate_cases import arguments_of, build_perturbed


@pytest.fixture
def surrogate() -> Scalars:
    surrogate = build_perturbed("scalars", problems.quantity_problem())
    assert isinstance(surrogate, Scalars)
    return surrogate


def test_quantities_need_no_initial_values(surrogate: Scalars) -> None:
    arguments = arguments_of(surrogate.problem, [0.0, 0.25, 1.0])
    prediction = surrogate.predict(**arguments)
    mean, deviation = surrogate.predict_quantities({**arguments["parameters"]}, arguments["times"])
    torch.testing.assert_close(mean[:, 1:], prediction.mean[:, 1:, :, 0], rtol=1e-12, atol=0)
    assert prediction.standard_deviation is not None
    torch.testing.assert_close(
        deviation[:, 1:], prediction.standard_deviation[:, 1:, :, 0], rtol=1e-12, atol=0
    )
    assert not prediction.standard_deviation[:, 0].any()
    assert (deviation > 0).all()


def test_a_quantity_without_variation_is_predicted_exactly() -> None:
    problem = problems.quantity_problem()
    statistics = dataclasses.replace(problem.statistics, std=(10.0, 0.0))
    surrogate = build_perturbed("scalars", dataclasses.replace(problem, statistics=statistics))
    assert isinstance(surrogate, Scalars)
    arguments = arguments_of(problem, [0.5, 1.0])
    mean, deviation = surrogate.predict_quantities(arguments["parameters"], arguments["times"])
    assert (mean[..., 1] == 1e5).all()
    assert not deviation[..., 1].any()


def test_the_predicted_deviation_is_that_of_the_noise() -> None:
    # The quantities are linear in the parameter, with noise of a tenth of their standard deviation.
    problem = problems.quantity_problem()
    torch.manual_seed(0)
    surrogate = store.build("scalars", {"width": 16, "layers": 1}, problem, "float64")
    assert isinstance(surrogate, Scalars)
    batch = problems.batch(problem, 400, 2, torch.float64)
    mean, std = (
        torch.tensor(values, dtype=torch.float64)
        for values in (problem.statistics.mean, problem.statistics.std)
    )
    signal = (batch["parameters"] - 2.0) / 0.6
    noise = 0.1 * torch.randn(400, 2, dtype=torch.float64)
    batch["state"][:, 1, :, 0] = mean + std * (signal + noise)
    optimiser = torch.optim.Adam(surrogate.parameters(), 2e-2)
    for _ in range(300):
        optimiser.zero_grad()
        sum(surrogate(batch).values()).backward()  # type: ignore[union-attr]
        optimiser.step()
    powers = np.linspace(1.5, 2.5, 11)
    conductivity = torch.ones(1, dtype=torch.float64)
    predicted, deviation = surrogate.predict_quantities(
        {"power": powers, "conductivity": conductivity}, np.array([0.25])
    )
    expected = mean + std * torch.from_numpy((powers - 2.0) / 0.6)[:, None, None]
    assert ((predicted - expected) / std).abs().max() < 0.05
    torch.testing.assert_close(deviation / std, torch.full_like(deviation, 0.1), rtol=0.5, atol=0)


def test_fields_and_random_trajectories_are_refused() -> None:
    with pytest.raises(UserError, match="learns the quantities of interest of a data set"):
        store.build("scalars", {"width": 4, "layers": 1}, problems.fading_problem(), "float64")
    problem = problems.change_problem(problems.quantity_problem(), parametric=False)
    with pytest.raises(UserError, match="needs quantities that are functions of the scalar parameters"):
        store.build("scalars", {"width": 4, "layers": 1}, problem, "float64")
