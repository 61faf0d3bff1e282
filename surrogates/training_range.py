"""The range of the training data, compared with the inputs of a prediction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from simsurrogate.errors import UserError
from surrogates.arrays import as_tensor

if TYPE_CHECKING:
    from surrogates.contract import Array, ParameterValues, Problem

#: The allowed distance from the range of a field in the training data, in widths of the range. The fields of
#: other trajectories exceed the range slightly.
_FIELD_MARGIN = 0.5


def check_finite(initial_state: Array, parameters: ParameterValues) -> None:
    """Check that the initial state, the scalar parameters and the coefficient fields are finite.

    Raises:
        UserError: a value is NaN or infinity.
    """
    for name, values in {"initial_state": initial_state, **parameters}.items():
        tensor = as_tensor(values)
        num_wrong = int((~torch.isfinite(tensor)).sum())
        if num_wrong:
            raise UserError(
                f"{name} holds NaN or infinity in {num_wrong} of {tensor.numel()} values. Only finite "
                "numbers are allowed. Correct the input."
            )


def outside_messages(
    problem: Problem, initial_state: Array, parameters: ParameterValues, times: Array, uses_time: bool
) -> Iterator[str]:
    """Yield a message for each input outside the range of the training data.

    Inputs are the scalar parameters, the channels of the initial state, the coefficient fields and, if the
    surrogate uses the time, the times.
    """
    yield from _parameters_outside(problem, parameters)
    yield from _fields_outside(problem, initial_state, parameters)
    if uses_time:
        yield from _times_outside(problem, times)


def _parameters_outside(problem: Problem, parameters: ParameterValues) -> Iterator[str]:
    for parameter in problem.spec.parameters:
        if parameter.name not in parameters:
            continue
        values = as_tensor(parameters[parameter.name], torch.float64).reshape(-1)
        # Data stored as float32 may exceed an end of the range by a rounding error.
        margin = 1e-6 * max(abs(parameter.low), abs(parameter.high))
        outside_values = values[(values < parameter.low - margin) | (values > parameter.high + margin)]
        if len(outside_values):
            yield (
                f"{parameter.name}={outside_values[0]:g} is outside the range {parameter.low:g} to "
                f"{parameter.high:g} of the training data "
                f"({len(outside_values)} of {len(values)} values are outside)"
            )


def _fields_outside(problem: Problem, initial_state: Array, parameters: ParameterValues) -> Iterator[str]:
    spec, statistics = problem.spec, problem.statistics
    state = as_tensor(initial_state)
    # A wrong shape is refused later.
    if state.ndim == len(spec.shape) + 2 and state.shape[1] == len(spec.channels):
        for name, values, value_range in zip(
            spec.channels, state.unbind(1), statistics.channel_ranges, strict=False
        ):
            yield from _field_outside(f"the initial {name}", values, value_range)
    for name, value_range in zip(spec.coefficient_channels, statistics.coefficient_ranges, strict=False):
        if name in parameters:
            yield from _field_outside(name, as_tensor(parameters[name]), value_range)


def _field_outside(name: str, values: torch.Tensor, value_range: tuple[float, float]) -> Iterator[str]:
    if not values.numel():
        return
    (low, high), extremes = value_range, [float(values.min()), float(values.max())]
    margin = _FIELD_MARGIN * (high - low) + 1e-6 * max(abs(low), abs(high))
    outside_values = [value for value in extremes if not low - margin <= value <= high + margin]
    if outside_values:
        yield (
            f"{name} reaches {outside_values[-1]:g}, far outside the range {low:g} to {high:g} of the "
            "training data"
        )


def _times_outside(problem: Problem, times: Array) -> Iterator[str]:
    time, duration = as_tensor(times, torch.float64).reshape(-1), problem.duration
    outside_times = time[(time < 0) | (time > duration * (1 + 1e-6))]
    if len(outside_times):
        yield (
            f"time={outside_times[0]:g} is outside the duration 0 to {duration:g} of the training data "
            f"({len(outside_times)} of {len(time)} times are outside)"
        )
