"""The statistics and the range of the training data, compared with the inputs of a prediction."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from simsurrogate.errors import UserError
from simsurrogate.round_off import nonrounding_std
from simsurrogate.spec import Spec
from surrogates.arrays import as_array, as_tensor

#: Numbers that a caller passes.
Values = np.ndarray | torch.Tensor | float

#: The allowed distance from the range of a field in the training data, in widths of the range. The fields of
#: other trajectories exceed the range slightly.
_FIELD_MARGIN = 0.5


def check_finite(initial_state: Values, parameters: Mapping[str, Values]) -> None:
    """Check that the initial state, the scalar parameters and the coefficient fields are finite.

    Raises:
        UserError: a value is NaN or infinity.
    """
    for name, values in {"initial_state": initial_state, **parameters}.items():
        # For a few numbers numpy is several times as fast as PyTorch.
        is_finite = (
            torch.isfinite(values) if isinstance(values, torch.Tensor) else np.isfinite(as_array(values))
        )
        if not is_finite.all():
            raise UserError(
                f"{name} holds NaN or infinity in {int((~is_finite).sum())} of {math.prod(is_finite.shape)} "
                "values. Only finite numbers are allowed. Correct the input."
            )


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation over the training split, one value per channel.

    The components of a vector have the same standard deviation, the root mean square over the components.
    `delta_std` is the standard deviation of the change of a channel from one frame to the next. The ranges
    hold the smallest and the largest value of each channel; they are empty in models of earlier releases.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    delta_std: tuple[float, ...]
    coefficient_mean: tuple[float, ...]
    coefficient_std: tuple[float, ...]
    parameter_mean: tuple[float, ...]
    parameter_std: tuple[float, ...]
    channel_ranges: tuple[tuple[float, float], ...] = ()
    coefficient_ranges: tuple[tuple[float, float], ...] = ()

    def rounded_to(self, precision: str) -> Statistics:
        """Return the statistics with 0 for each standard deviation below the round-off of `precision`.

        Weights of this precision cannot distinguish such values from their mean, see `nonrounding_std`.
        """

        def std(values: tuple[float, ...], mean: tuple[float, ...]) -> tuple[float, ...]:
            return tuple(nonrounding_std(np.array(values), np.array(mean), precision).tolist())

        return dataclasses.replace(
            self,
            std=std(self.std, self.mean),
            coefficient_std=std(self.coefficient_std, self.coefficient_mean),
            parameter_std=std(self.parameter_std, self.parameter_mean),
        )


@dataclass(frozen=True)
class TrainingRange:
    """The range of the training data of a problem.

    Attributes:
        spec: the fields and the parameters with their ranges.
        channel_ranges: the smallest and the largest value of each channel; empty if unknown.
        coefficient_ranges: the same of each coefficient field.
        duration: the duration of a trajectory, s.
    """

    spec: Spec
    channel_ranges: Sequence[tuple[float, float]]
    coefficient_ranges: Sequence[tuple[float, float]]
    duration: float

    def outside_messages(
        self, initial_state: Values, parameters: Mapping[str, Values], times: Values | None
    ) -> Iterator[str]:
        """Yield a message for each input outside the range.

        Inputs are the scalar parameters, the channels of the initial state, the coefficient fields, and the
        times unless they are None.
        """
        yield from self._parameters_outside(parameters)
        yield from self._fields_outside(initial_state, parameters)
        if times is not None:
            yield from self._times_outside(times)

    def _parameters_outside(self, parameters: Mapping[str, Values]) -> Iterator[str]:
        for parameter in self.spec.parameters:
            if parameter.name not in parameters:
                continue
            values = as_array(parameters[parameter.name]).reshape(-1)
            # Data stored as float32 may exceed an end of the range by a rounding error.
            margin = 1e-6 * max(abs(parameter.low), abs(parameter.high))
            outside_values = values[(values < parameter.low - margin) | (values > parameter.high + margin)]
            if len(outside_values):
                yield (
                    f"{parameter.name}={outside_values[0]:g} is outside the range {parameter.low:g} to "
                    f"{parameter.high:g} of the training data "
                    f"({len(outside_values)} of {len(values)} values are outside)"
                )

    def _fields_outside(self, initial_state: Values, parameters: Mapping[str, Values]) -> Iterator[str]:
        state, channels = as_tensor(initial_state), self.spec.channels
        # A wrong shape is refused later.
        if state.ndim == len(self.spec.shape) + 2 and state.shape[1] == len(channels):
            for name, values, value_range in zip(
                channels, state.unbind(1), self.channel_ranges, strict=False
            ):
                yield from _field_outside(f"the initial {name}", values, value_range)
        for name, value_range in zip(self.spec.coefficient_channels, self.coefficient_ranges, strict=False):
            if name in parameters:
                yield from _field_outside(name, as_tensor(parameters[name]), value_range)

    def _times_outside(self, times: Values) -> Iterator[str]:
        time = as_array(times).reshape(-1)
        outside_times = time[(time < 0) | (time > self.duration * (1 + 1e-6))]
        if len(outside_times):
            yield (
                f"time={outside_times[0]:g} is outside the duration 0 to {self.duration:g} of the training "
                f"data ({len(outside_times)} of {len(time)} times are outside)"
            )


def _field_outside(name: str, values: torch.Tensor, value_range: tuple[float, float]) -> Iterator[str]:
    if not values.numel():
        return
    (low, high), extremes = value_range, [extreme.item() for extreme in torch.aminmax(values)]
    margin = _FIELD_MARGIN * (high - low) + 1e-6 * max(abs(low), abs(high))
    outside_values = [value for value in extremes if not low - margin <= value <= high + margin]
    if outside_values:
        yield (
            f"{name} reaches {outside_values[-1]:g}, far outside the range {low:g} to {high:g} of the "
            "training data"
        )
