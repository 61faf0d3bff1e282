"""Arguments of `predict` and `step`, checked against the problem and converted to tensors.

Shape letters: B batch, C channels, K coefficient fields, P scalar parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import nn

from simsurrogate.errors import UserError
from surrogates.arrays import as_tensor
from surrogates.contract import Array, Batch, ParameterValues, Problem

#: A function from a state (B, ...), its time (s) and durations (T,), s, to the states (B, T, ...) after them.
Query = Callable[[torch.Tensor, float, np.ndarray], torch.Tensor]


def initial_states(problem: Problem, values: Array, like: torch.Tensor) -> torch.Tensor:
    """Return the states (B, C, *sites), with the dtype and on the device of `like`.

    Raises:
        UserError: the shape does not fit the problem.
    """
    state = as_tensor(values, like.dtype, like.device)
    expected_shape = (len(problem.spec.channels), *problem.spec.shape)
    if state.ndim != len(expected_shape) + 1 or state.shape[1:] != expected_shape:
        raise UserError(
            f"The states have shape {tuple(state.shape)}. The expected shape is (batch, channels, sites) "
            f"with (channels, sites) = {expected_shape}. Add a batch axis to a single state with state[None]."
        )
    return state


def as_times(times: Array) -> np.ndarray:
    """Return the times as float64 (T,).

    Raises:
        UserError: there are no times, or they have more than one axis.
    """
    time = np.asarray(times, dtype=np.float64)
    if time.ndim != 1 or not len(time):
        raise UserError(
            f"times has shape {time.shape}. The expected shape has one axis with at least the start "
            "time. Pass np.array([start, end])."
        )
    return time


def increasing_times(times: Array) -> np.ndarray:
    """Return the times as float64 (T,), after a check that the times increase.

    Raises:
        UserError: there are no times, they do not increase, or they are not finite.
    """
    time = as_times(times)
    if not (np.diff(time) > 0).all() or not np.isfinite(time).all():
        raise UserError(
            f"times={time} do not increase or are not finite. The times must increase. Sort the times and "
            "remove repeated and infinite times."
        )
    return time


def restarted_predictions(
    state: torch.Tensor, times: Array, horizon: float, query: Query
) -> Iterator[torch.Tensor]:
    """Yield the states at all times but the first, from the `state` at the first time.

    One query predicts at most `horizon` seconds ahead. Later times take several queries: each query starts
    from the prediction of the previous query, a whole horizon earlier. Each query yields its states at once.

    Args:
        state: the state at the first time, (B, ...).
        times: (T,), s.
        horizon: the longest duration of one query, s.
        query: predicts the states after several durations.

    Yields:
        The states (B, N, ...) at the next N times.

    Raises:
        UserError: the times do not increase, or are not finite.
    """
    time = increasing_times(times)
    durations = time[1:] - time[0]
    # A duration that exceeds a horizon by a rounding error needs no further query.
    horizon_counts = np.maximum(np.ceil(durations / horizon * (1 - 1e-9)) - 1, 0).astype(int)
    num_restarts = int(horizon_counts.max(initial=0))
    for count in range(num_restarts + 1):
        own_durations = durations[horizon_counts == count] - count * horizon
        num_own = len(own_durations)
        if count < num_restarts:
            own_durations = np.append(own_durations, horizon)
        if len(own_durations):
            states = query(state, float(time[0]) + count * horizon, own_durations)
            state = states[:, -1]
            yield states[:, :num_own]


def check_minimum(minimum: float, **options: float) -> None:
    """Check that options of a surrogate are at least `minimum`.

    Raises:
        UserError: an option is below the minimum, or NaN.
    """
    for name, value in options.items():
        if not value >= minimum:
            raise UserError(
                f"surrogate.{name}={value:g} is too small. The smallest allowed value is "
                f"{minimum:g}. Type surrogate.{name}={minimum:g} or a larger number."
            )


def check_maximum(maximum: int, count: int, purpose: str, options: str) -> None:
    """Check that options of a surrogate do not ask for more than `maximum` of something.

    Args:
        maximum: the largest allowed number.
        count: the number.
        purpose: what is counted, in words.
        options: the options that determine the number, for the message.

    Raises:
        UserError: the number is larger than the maximum.
    """
    if count > maximum:
        raise UserError(
            f"{options} asks for {count} {purpose}. At most {maximum} are allowed. Type a smaller value of "
            f"{options.partition('=')[0]}."
        )


def check_window(batch: Batch, horizon_steps: int) -> None:
    """Check that the windows of a batch have as many steps as one query predicts ahead.

    Raises:
        UserError: the windows are longer or shorter.
    """
    steps = batch["state"].shape[1] - 1
    if steps != horizon_steps:
        raise UserError(
            f"training.unroll={steps} makes windows of {steps} steps, but one query predicts "
            f"surrogate.horizon_steps={horizon_steps} steps ahead. The two numbers must be equal. Type "
            f"training.unroll={horizon_steps}, or leave out surrogate.horizon_steps."
        )


def modes_of_axes(problem: Problem, modes: int | Sequence[int]) -> tuple[int, ...]:
    """Return the number of Fourier modes of each axis; a single number applies to all axes.

    Raises:
        UserError: the length of the list differs from the number of axes.
    """
    num_axes = len(problem.spec.shape)
    counts = (modes,) * num_axes if isinstance(modes, int) else tuple(modes)
    if len(counts) != num_axes:
        raise UserError(
            f"surrogate.modes={list(counts)} has {len(counts)} numbers for the {num_axes} axes "
            f"{', '.join(problem.spec.axis_names)}. One number per axis, or a single number, is allowed. "
            f"Type surrogate.modes={counts[0] if counts else 12}."
        )
    return counts


def parameter_tensors(
    problem: Problem, parameters: ParameterValues, batch_size: int, like: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the coefficient fields (B, K, *sites) and the scalar parameters (B, P) of a mapping by name.

    Raises:
        UserError: a name is missing or unknown, or a shape fits neither a single case nor the batch.
    """
    expected_names = [*problem.spec.parameter_names, *problem.spec.coefficient_channels]
    missing_names = [name for name in expected_names if name not in parameters]
    unknown_names = [name for name in parameters if name not in expected_names]
    if missing_names or unknown_names:
        raise UserError(
            f"The names of the parameters do not fit the problem: missing {missing_names}, unknown "
            f"{unknown_names}. The problem has the parameters {expected_names}. Pass each parameter by name."
        )

    def stack(names: tuple[str, ...], sites: tuple[int, ...]) -> torch.Tensor:
        if not names:
            return like.new_empty(batch_size, 0, *sites)
        tensors = [
            _with_batch_axis(name, as_tensor(parameters[name], like.dtype, like.device), batch_size, sites)
            for name in names
        ]
        return torch.stack(tensors, dim=1)

    coefficient_fields = stack(problem.spec.coefficient_channels, problem.spec.shape)
    return coefficient_fields, stack(problem.spec.parameter_names, ())


def nonzero_std(std: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return standard deviations with 1 in place of 0, which quantities without variation have."""
    values = np.array(std, dtype=np.float64)
    return np.where(values > 0, values, 1.0)


def set_constants(module: nn.Module, **values: np.ndarray) -> None:
    """Register arrays as buffers that follow `.to()` and are not saved, because the problem holds them."""
    for name, array in values.items():
        buffer = torch.tensor(array, dtype=torch.get_default_dtype())
        module.register_buffer(name, buffer, persistent=False)


def _with_batch_axis(
    name: str, tensor: torch.Tensor, batch_size: int, sites: tuple[int, ...]
) -> torch.Tensor:
    """Return the tensor with a batch axis, after a check of its shape."""
    if tensor.shape not in (sites, (batch_size, *sites)):
        raise UserError(
            f"The parameter {name!r} has shape {tuple(tensor.shape)}. Allowed are {(batch_size, *sites)}, "
            f"one per case, and {sites}, the same for all cases. Reshape the parameter."
        )
    return tensor.expand(batch_size, *sites)
