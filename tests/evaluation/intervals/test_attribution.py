"""Attributions: known dependences, complete sums for every surrogate, and the modes of Fourier networks."""

from __future__ import annotations

import math
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch

from pipeline.evaluation.cases import Cases
from pipeline.evaluation.intervals.attribution import Attribution, attribute
from pipeline.evaluation.intervals.fourier_modes import watched_modes
from pipeline.evaluation.intervals.predicted_value import PredictedValue
from pipeline.evaluation.intervals.result import DIFFERENT_MAPS
from pipeline.evaluation.report import attribution_part as part_module
from pipeline.evaluation.report.attribution_part import attribution_part
from surrogates.contract import Prediction, Surrogate, surrogate_names
from surrogates.networks.spectral_convolution import SpectralConvolution, TruncatedFourier
from tests.support import problems, surrogate_cases


class Neighbours(Surrogate):
    """The next frames are a weighted sum of three cells, times the parameter and the coefficient field.

    u_t(x) = power k(x) (w_0 u(x - 1) + w_1 u(x) + w_2 u(x + 1)), the same for all later times.
    """

    def __init__(self, problem, weights=(1.0, 2.0, -3.0)):
        super().__init__(problem)
        self.weights = torch.nn.Parameter(torch.tensor(weights, dtype=torch.float64))

    def forward(self, batch):
        raise NotImplementedError

    def _predict(self, initial_state, parameters, times):
        state = torch.as_tensor(initial_state, dtype=torch.float64)
        power = torch.as_tensor(parameters["power"], dtype=torch.float64).reshape(-1, 1, 1)
        field = torch.as_tensor(parameters["conductivity"], dtype=torch.float64)[:, None]
        frame = sum(
            weight * state.roll(shift, -1) for weight, shift in zip(self.weights, (1, 0, -1), strict=True)
        )
        return Prediction(torch.stack([state, *[power * field * frame] * (len(times) - 1)], dim=1))


def cases_of(problem, seed: int = 0) -> Cases:
    """Return a random trajectory of 2 frames after the first, with the statistics of the problem."""
    batch = problems.batch(problem, 2, dtype=torch.float64)
    batch = {name: values[seed : seed + 1] for name, values in batch.items()}
    inputs = {name: values.numpy() for name, values in problems.parameters_by_name(problem, batch).items()}
    time = np.arange(3) * problem.time_step
    return Cases(batch["state"].numpy(), inputs, ({},), time, (seed,), None)


def attribution_of(surrogate: Surrogate) -> Attribution:
    reference = cases_of(surrogate.problem, 1) if surrogate.problem.spec.has_particles else None
    result = attribute(surrogate, cases_of(surrogate.problem), reference)
    assert isinstance(result, Attribution)
    return result


def test_a_value_depends_on_the_cells_that_determine_it() -> None:
    problem = problems.grid_problem((20,), ("periodic",))
    surrogate = Neighbours(problem).requires_grad_(False)
    attribution = attribution_of(surrogate)
    channel = "temperature" if "temperature" in attribution.result.output else "pressure"
    (cell,) = attribution.site
    used = sorted((cell + shift) % 20 for shift in (-1, 0, 1))
    gradient = attribution.gradients[f"initial {channel}"]
    np.testing.assert_array_equal(np.flatnonzero(gradient), used)
    power = float(cases_of(problem).inputs["power"][0])
    field = attribution.inputs["conductivity"][cell]
    std = problem.statistics.std[problem.spec.channels.index(channel)]
    for shift, weight in zip((-1, 0, 1), (1.0, 2.0, -3.0), strict=True):
        assert gradient[(cell + shift) % 20] == pytest.approx(std * weight * power * field)
    np.testing.assert_array_equal(np.flatnonzero(attribution.integrated["conductivity"]), [cell])
    other = "pressure" if channel == "temperature" else "temperature"
    assert attribution.result.shares[f"initial {other}"] == 0
    assert sum(attribution.result.shares.values()) == pytest.approx(1)
    # The integrand is a polynomial of degree 2, which the quadrature integrates exactly.
    assert attribution.result.completeness_error < 1e-10
    sensitivity = attribution.sensitivities["power"]
    final = surrogate._predict(cases_of(problem).state[:, 0], cases_of(problem).inputs, [0, 1]).mean[0, -1]
    expected = 0.6 * final[problem.spec.channels.index(channel)].numpy() / power
    np.testing.assert_allclose(sensitivity, expected, rtol=1e-9)
    assert attribution.result.modes == []


@pytest.mark.parametrize("name", surrogate_names())
def test_every_surrogate_has_complete_attributions(name: str, tmp_path) -> None:
    surrogate = surrogate_cases.build_perturbed(name, problems.learnable_problem(name)).requires_grad_(False)
    attribution = attribution_of(surrogate)
    result = attribution.result
    assert result.completeness_error < 0.02
    assert sum(result.shares.values()) == pytest.approx(1)
    assert all(np.isfinite(values).all() for values in attribution.gradients.values())
    is_fourier = any(isinstance(module, SpectralConvolution) for module in surrogate.modules())
    assert bool(result.modes) == is_fourier
    if is_fourier:
        assert attribution.mode_shares.sum() == pytest.approx(1)
    if name not in ("fno", "pod", "mlp"):
        return
    part = attribution_part(attribution, surrogate.problem.spec, tmp_path)
    assert part.sentences[0].startswith(f"The {result.output} at t = ")
    assert all(figure.path.is_file() for figure in part.figures)


def test_a_trained_network_differs_from_its_shuffled_weights_in_numbers_and_picture(tmp_path) -> None:
    """The network learns to move the fields by 3 cells in a step, so a value comes from 6 cells before."""
    problem = problems.grid_problem((20,), ("periodic",))
    surrogate = surrogate_cases.build("fno", problem, "float32")
    batch = problems.batch(problem, 16)
    first = batch["state"][:, 0]
    batch["state"] = torch.stack([first.roll(3 * step, -1) for step in range(3)], dim=1)
    optimiser = torch.optim.Adam(surrogate.parameters(), 1e-2)
    for _ in range(100):
        optimiser.zero_grad()
        sum(surrogate(batch).values()).backward()
        optimiser.step()
    attribution = attribution_of(surrogate.eval().requires_grad_(False))
    channel = attribution.result.output.partition(" ")[0]
    name, source = f"initial {channel}", (attribution.site[0] - 6) % 20
    assert np.abs(attribution.gradients[name]).argmax() == source
    assert attribution.result.is_sane
    assert abs(attribution.result.shuffled_correlation) < DIFFERENT_MAPS
    with patch.object(part_module, "save", wraps=part_module.save) as saved:
        attribution_part(attribution, problem.spec, tmp_path)
    panels = saved.call_args_list[-1].args[0].axes
    titles = [panel.get_title() for panel in panels]
    column = titles.index("gradient, shuffled weights")
    assert titles[column - 1] == "gradient"
    shuffled = panels[column].lines[0].get_ydata()
    np.testing.assert_array_equal(shuffled, attribution.shuffled["initial temperature"])
    assert not np.array_equal(shuffled, panels[column - 1].lines[0].get_ydata())


def test_gradients_agree_with_differences() -> None:
    surrogate = surrogate_cases.build_perturbed("fno", problems.grid_problem((16,), ("periodic",)))
    surrogate.requires_grad_(False)
    cases = cases_of(surrogate.problem)
    value = PredictedValue.of(surrogate, cases)
    like = torch.float64
    inputs = {
        "initial temperature": torch.tensor(cases.state[:, 0, 0], dtype=like),
        "initial pressure": torch.tensor(cases.state[:, 0, 1], dtype=like),
        "conductivity": torch.tensor(cases.inputs["conductivity"], dtype=like),
        "power": torch.tensor(cases.inputs["power"], dtype=like),
    }
    gradients = value.gradients(surrogate, inputs)
    for name, step in (("initial temperature", 1e-3), ("conductivity", 1e-4), ("power", 1e-4)):
        shifted = []
        for sign in (1, -1):
            changed = {key: tensor.clone() for key, tensor in inputs.items()}
            changed[name].view(-1)[0] += sign * step
            with torch.no_grad():
                shifted.append(value.evaluate(surrogate, changed).item())
        difference = (shifted[0] - shifted[1]) / (2 * step)
        assert gradients[name].view(-1)[0].item() == pytest.approx(difference, rel=1e-5, abs=1e-9), name


def test_a_convolution_of_one_mode_uses_this_mode() -> None:
    fourier = TruncatedFourier((12, 10), (1.0, 1.0), (4, 3)).double()
    layer = SpectralConvolution(2, fourier).double()
    mode = next(
        index
        for index, waves in enumerate((x, y) for x in range(4) for y in range(-2, 3))
        if waves == (3, -2)
    )
    with torch.no_grad():
        weight = layer.weight[mode].clone()
        layer.weight.zero_()
        layer.weight[mode] = weight
    field = torch.randn(12, 10, 1, 2, dtype=torch.float64)
    with watched_modes(layer) as use:
        output = layer(field, fourier, torch.zeros_like(field))
    assert use.listed()[0].waves == [3.0, -2.0]
    assert use.listed()[0].share == pytest.approx(1)
    np.testing.assert_allclose(use.by_size(), [0, 0, 0, 1], atol=1e-12)
    # The output is a wave with these numbers: its spectrum has two entries, k and -k.
    power = np.abs(np.fft.fft2(output[..., 0, 0].detach().numpy())) ** 2
    assert power[3, -2] + power[-3, 2] == pytest.approx(power.sum())


def test_a_surrogate_without_gradients_and_a_large_state_have_a_reason_for_no_attribution(
    tmp_path: Path,
) -> None:
    class Detached(Neighbours):
        def _predict(self, initial_state, parameters, times):
            prediction = super()._predict(initial_state, parameters, times)
            return Prediction(prediction.mean.detach())

    problem = problems.grid_problem((20,), ("periodic",))
    reason = attribute(Detached(problem).requires_grad_(False), cases_of(problem))
    assert isinstance(reason, str)
    assert "the surrogate gives no gradient" in reason
    assert attribution_part(reason, problem.spec, tmp_path).sentences == [reason]
    large = problems.grid_problem((2**19,), ("periodic",))
    assert "at most 1,048,576 are allowed" in attribute(Neighbours(large), cases_of(large))
    assert math.prod(large.spec.shape) == 2**19
