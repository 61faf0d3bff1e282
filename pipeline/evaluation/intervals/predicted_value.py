"""A single value that a surrogate predicts, as a differentiable function of the inputs by name.

Shape letters: B cases, C channels. The inputs are the channels of the initial state (`initial NAME`), the
coefficient fields and the scalar parameters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from pipeline.evaluation.cases import Cases
    from simsurrogate.spec import Spec
    from surrogates.contract import Surrogate

#: The largest number of time steps from the start to the value.
MAX_STEPS = 10
#: The difference of a parameter for derivatives, in standard deviations.
_DIFFERENCE = 1e-2


@dataclass(frozen=True)
class PredictedValue:
    """A predicted value: its channel and site, at the last of `times`."""

    channel: int
    site: tuple[int, ...]
    times: np.ndarray

    @classmethod
    def of(cls, surrogate: Surrogate, cases: Cases) -> PredictedValue:
        """Return the value with the largest predicted change of its channel, in standard deviations."""
        times = cases.time[: MAX_STEPS + 1]
        with torch.no_grad():
            mean = (
                surrogate._predict(cases.state[:, 0], cases.inputs, times).mean[0].double().numpy(force=True)
            )
        std = np.array(surrogate.problem.statistics.std)
        scale = np.where(std > 0, std, np.inf).reshape(-1, *[1] * (mean.ndim - 2))
        change = np.nan_to_num(np.abs(mean[-1] - mean[0]) / scale)
        channel, *site = np.unravel_index(int(change.argmax()), change.shape)
        return cls(int(channel), tuple(map(int, site)), times)

    def name(self, spec: Spec) -> str:
        """Return the value in words."""
        channel = spec.channels[self.channel].replace("_", " ")
        if spec.has_particles:
            return f"{channel} of particle {self.site[0]}"
        if math.prod(spec.shape) == 1:
            return channel
        place = ", ".join(
            f"{axis.name} = {axis.centres[index]:.3g} {axis.unit}"
            for axis, index in zip(spec.axes, self.site, strict=True)
        )
        return f"{channel} at {place}"

    def evaluate(self, surrogate: Surrogate, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the value of each case (B,) for inputs by name, each (B, ...)."""
        values = self.final_states(surrogate, inputs)[:, self.channel].flatten(1)
        return values[:, int(np.ravel_multi_index(self.site, surrogate.problem.spec.shape))]

    def final_states(self, surrogate: Surrogate, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the last predicted state of each case, (B, C, *sites)."""
        spec = surrogate.problem.spec
        state = torch.stack([inputs[f"initial {name}"] for name in spec.channels], dim=1)
        names = (*spec.parameter_names, *spec.coefficient_channels)
        mean = surrogate._predict(state, {name: inputs[name] for name in names}, self.times).mean
        return mean[:, -1]

    def gradients(self, surrogate: Surrogate, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the derivatives of the value of each case by its inputs, 0 without influence."""
        leaves = {name: tensor.detach().clone().requires_grad_() for name, tensor in inputs.items()}
        with torch.enable_grad():
            total = self.evaluate(surrogate, leaves).sum()
            if not total.requires_grad:
                return {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
            gradients = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        return {
            name: torch.zeros_like(leaf) if gradient is None else gradient
            for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True)
        }

    def sensitivities(
        self, surrogate: Surrogate, inputs: Mapping[str, torch.Tensor]
    ) -> dict[str, np.ndarray]:
        """Return the derivatives of the final frame of the channel by each parameter, see `Attribution`.

        The derivatives are central differences over a hundredth of a standard deviation.
        """
        spec = surrogate.problem.spec
        names, std = spec.parameter_names, input_scales(surrogate)
        if spec.has_particles or not names or math.prod(spec.shape) == 1:
            return {}
        cases = {
            name: tensor.repeat(2 * len(names), *[1] * (tensor.ndim - 1)) for name, tensor in inputs.items()
        }
        for index, name in enumerate(names):
            cases[name][2 * index] += _DIFFERENCE * std[name]
            cases[name][2 * index + 1] -= _DIFFERENCE * std[name]
        with torch.no_grad():
            final = self.final_states(surrogate, cases)[:, self.channel].double().numpy(force=True)
        differences = (final[::2] - final[1::2]) / (2 * _DIFFERENCE)
        return dict(zip(names, differences, strict=True))


def input_scales(surrogate: Surrogate) -> dict[str, float]:
    """Return the standard deviation of each input over the training data."""
    spec, stats = surrogate.problem.spec, surrogate.problem.statistics
    names = [f"initial {name}" for name in spec.channels]
    names += [*spec.coefficient_channels, *spec.parameter_names]
    return dict(zip(names, (*stats.std, *stats.coefficient_std, *stats.parameter_std), strict=True))
