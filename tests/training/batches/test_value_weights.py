"""The weights of values in gaps and with noise, and the losses with these weights."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from pipeline.evaluation.metrics.relative import FieldNorm
from pipeline.evaluation.mixture.sources import measured_error
from pipeline.training.batches.value_weights import ValueWeights, channel_weights, honours_weight
from surrogates.contract import Batch, Surrogate, surrogate_class, surrogate_names
from surrogates.grids.losses import relative_error
from tests.support import problems
from tests.support.surrogate_cases import PROBLEMS, build_perturbed

WEIGHTED = [name for name in surrogate_names() if honours_weight(surrogate_class(name))]


def test_the_weights_of_channels_are_those_of_their_noise() -> None:
    std = np.array([2.0, 10.0, 1.0])
    # Relative noise 0.1, 0.2 and, without noise, the least 0.01.
    relative = np.array([0.1, 0.2, 0.01]) ** -2.0
    noise, present = np.array([0.2, 2.0, 0.0]), np.ones(3, bool)
    assert channel_weights(noise, std, present) == pytest.approx(3 * relative / relative.sum())
    assert (channel_weights(np.zeros(3), std, present) == 1).all()
    # Without the last channel, the noise of 0.1 and 0.2 gives 4 : 1 with the mean 1.
    without_last = channel_weights(noise, std, np.array([True, True, False]))
    assert without_last == pytest.approx([8 / 5, 2 / 5, 0])


def test_a_missing_value_is_the_mean_with_the_weight_0() -> None:
    loader = SimpleNamespace(source_of=lambda windows: windows // 10)
    weights = ValueWeights(
        cast(Any, loader), torch.tensor([[1.0, 1.0], [1.5, 0.5]]), torch.tensor([7.0, -1.0])
    )
    state = torch.arange(12.0).reshape(2, 1, 2, 3)
    state[1, 0, 0, 2] = math.nan
    batch = weights(cast(Batch, {"state": state}), np.array([3, 12]))
    assert batch["weight"][:, 0].tolist() == [[[1] * 3, [1] * 3], [[1.5, 1.5, 0], [0.5] * 3]]
    assert batch["state"][1, 0].tolist() == [[6, 7, 7], [9, 10, 11]]
    assert batch["state"][0].equal(state[0])


def test_the_weighted_error_is_that_of_a_hand_computation() -> None:
    # One frame of 4 sites: a scalar, and a vector of 2 components (channels last).
    truth = torch.tensor([[[3.0, 1, 0], [4, 2, 0], [9, 2, 0], [9, 9, 9]]], dtype=torch.float64)
    predicted = truth + torch.tensor([[[0.0, 1, 0], [1, 0, 0], [5, 0, 2], [5, 5, 5]]], dtype=torch.float64)
    weight = torch.tensor([[[2.0, 1, 1], [2, 1, 1], [0, 1, 1], [0, 0, 0]]], dtype=torch.float64)
    # The scalar: W = 4 over 4 sites, |e| = 1, |u| = 5. The vector: W = 6 over 8 values, |e|^2 = 1 + 4,
    # |u|^2 = 1 + 4 + 4.
    expected = (4 / 4 * 1 / 5 + 6 / 8 * math.sqrt(5) / 3) / 2
    fields = ((0,), (1, 2))
    assert relative_error(predicted, truth, (1,), fields, weight).item() == pytest.approx(expected, rel=1e-14)
    # The floor: 0.01 sqrt(W), for a truth of 0.
    small = relative_error(predicted * 0 + 0.1, truth * 0, (1,), ((0,),), weight[..., :1])
    assert small.item() == pytest.approx(4 / 4 * 0.1 / 0.01)
    plain = relative_error(predicted, truth, (1,), fields)
    assert relative_error(predicted, truth, (1,), fields, torch.ones_like(truth)).item() == pytest.approx(
        plain.item(), rel=1e-14
    )


def test_a_frame_without_values_has_the_loss_0_and_no_gradient() -> None:
    predicted = torch.ones(1, 4, 1, requires_grad=True)
    loss = relative_error(predicted, torch.zeros(1, 4, 1), (1,), ((0,),), torch.zeros(1, 4, 1))
    loss.backward()
    assert loss.item() == 0
    assert predicted.grad is not None
    assert predicted.grad.tolist() == torch.zeros(1, 4, 1).tolist()


@pytest.mark.parametrize("name", WEIGHTED)
def test_a_value_with_the_weight_0_has_no_influence(name: str) -> None:
    problem = next(item for item in PROBLEMS if surrogate_class(name).incompatibility(item) is None)
    surrogate = build_perturbed(name, problem)
    batch = problems.batch(problem, size=3, dtype=torch.float64)
    if surrogate.num_random:
        batch["random"] = torch.rand(3, surrogate.num_random, dtype=torch.float64)

    def total_and_gradient(batch: Batch) -> tuple[float, torch.Tensor]:
        surrogate.zero_grad()
        loss = torch.stack(list(surrogate(batch).values())).sum()
        loss.backward()
        gradients = [weight.grad.flatten() for weight in surrogate.parameters() if weight.grad is not None]
        return loss.item(), torch.cat(gradients)

    plain, _ = total_and_gradient(batch)
    ones = torch.ones_like(batch["state"])
    assert total_and_gradient(cast(Batch, {**batch, "weight": ones}))[0] == pytest.approx(plain, rel=1e-12)
    weight = (torch.rand(batch["state"].shape, generator=torch.Generator().manual_seed(0)) > 0.4).double()
    weight[:, 0] = 1
    loss, gradient = total_and_gradient(cast(Batch, {**batch, "weight": weight}))
    assert loss != pytest.approx(plain, rel=1e-3)
    disturbed = torch.where(weight > 0, batch["state"], 3 * batch["state"] + 1e3)
    other_loss, other_gradient = total_and_gradient(
        cast(Batch, {**batch, "state": disturbed, "weight": weight})
    )
    assert other_loss == loss
    assert torch.equal(other_gradient, gradient)


def test_a_subclass_with_its_own_losses_has_to_say_that_it_is_weighted() -> None:
    assert {"fno", "unet", "deeponet", "mlp"} <= set(WEIGHTED)
    assert not {"pinn", "pod", "pi_deeponet", "hamiltonian", "scalars"} & set(WEIGHTED)
    fno = surrogate_class("fno")

    def forward(self: Surrogate, batch: Batch) -> dict[str, torch.Tensor]:
        return {}

    assert honours_weight(type("Same", (fno,), {}))
    assert not honours_weight(type("Own", (fno,), {"forward": forward}))
    assert honours_weight(type("Own", (fno,), {"forward": forward, "weighted": True}))


def test_the_error_on_measured_data_is_over_the_measured_values() -> None:
    nan = math.nan
    # One trajectory of 3 frames, one channel, 3 sites. The last frame is missing.
    truth = np.array([[[[3.0, 4, nan]], [[1, nan, nan]], [[nan] * 3]]])
    prediction = np.array([[[[3.0, 5, 100]], [[3, 100, 100]], [[100] * 3]]])
    norms = [FieldNorm((0,), 1e-9)]
    assert measured_error(prediction, truth, norms, "one_step") == pytest.approx([(1 / 5 + 2) / 2])
    assert measured_error(prediction, truth, norms, "rollout") == pytest.approx([2.0])
    assert np.isnan(measured_error(prediction, truth * nan, norms, "rollout")).all()
