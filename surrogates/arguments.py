"""What a surrogate is given, checked against its problem and turned into tensors.

Shape letters: B batch, C channels, K coefficient fields, P scalar parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from simsurrogate.errors import UserError
from surrogates.contract import Array, Batch, Problem


def initial_states(problem: Problem, values: Array, like: torch.Tensor) -> torch.Tensor:
    """The states (B, C, *sites), of the type and on the device of `like`.

    Raises:
        UserError: another shape.
    """
    state = _on_device(values, like)
    expected = (len(problem.spec.channels), *problem.spec.shape)
    if state.ndim != len(expected) + 1 or state.shape[1:] != expected:
        raise UserError(
            f"initial_state has shape {tuple(state.shape)}; expected (batch, channels, sites) with "
            f"(channels, sites) = {expected}"
        )
    return state


def as_times(times: Array) -> np.ndarray:
    """The times as float64 (T,).

    Raises:
        UserError: there is none, or they have more than one axis.
    """
    found = np.asarray(times, dtype=np.float64)
    if found.ndim != 1 or not len(found):
        raise UserError(f"times has shape {found.shape}; expected one axis with at least the start time")
    return found


def increasing_times(times: Array) -> np.ndarray:
    """The times as float64 (T,), each later than the one before.

    Raises:
        UserError: there is none, they do not increase, or they are not finite.
    """
    time = as_times(times)
    if not (np.diff(time) > 0).all() or not np.isfinite(time).all():
        raise UserError(f"times must increase and be finite; got {time}")
    return time


def restarted_predictions(
    state: torch.Tensor,
    times: Array,
    horizon: float,
    start: Callable[[torch.Tensor, float], Callable[[float], torch.Tensor]],
) -> Iterator[torch.Tensor]:
    """Yield the states at the times after the first, by queries of at most `horizon` (s) each.

    A time beyond the horizon is reached by restarts: whole horizons first, then the remainder.

    Args:
        state: the state at the first time.
        times: the times (T,), s.
        horizon: the longest time between the start of a query and its answer, s.
        start: takes a state and its time (s), and returns a function that maps the time since then (s) to
            the predicted state.

    Raises:
        UserError: the times do not increase, or are not finite.
    """
    time = increasing_times(times)
    elapsed_times = time[1:] - time[0]
    # A time that exceeds the horizon by rounding alone needs no restart.
    num_restarts = np.maximum(np.ceil(elapsed_times / horizon * (1 - 1e-9)) - 1, 0).astype(int)
    restarts_done, query = 0, start(state, float(time[0]))
    for restarts, elapsed in zip(num_restarts, elapsed_times, strict=True):
        while restarts_done < restarts:
            state, restarts_done = query(horizon), restarts_done + 1
            query = start(state, float(time[0]) + restarts_done * horizon)
        yield query(float(elapsed - restarts * horizon))


def check_minimum(minimum: float, **options: float) -> None:
    """Check that options of a surrogate are at least `minimum`.

    Raises:
        UserError: an option is below the minimum, or NaN.
    """
    for name, value in options.items():
        if not value >= minimum:
            raise UserError(
                f"surrogate.{name}={value:g} is too small. It must be at least {minimum:g}. "
                f"Type surrogate.{name}={minimum:g} or a larger number"
            )


def check_window(batch: Batch, horizon_steps: int) -> None:
    """Check that the windows of a batch have `horizon_steps` steps.

    Raises:
        UserError: the windows have another length.
    """
    steps = batch["state"].shape[1] - 1
    if steps != horizon_steps:
        raise UserError(
            f"training.unroll={steps} gives windows of {steps} steps, but one query covers "
            f"surrogate.horizon_steps={horizon_steps}. The two must be equal. "
            f"Type training.unroll={horizon_steps} or surrogate.horizon_steps={steps}"
        )


def modes_of_axes(problem: Problem, modes: int | Sequence[int]) -> tuple[int, ...]:
    """The Fourier modes of each axis; one number stands for all axes.

    Raises:
        UserError: a list of another length.
    """
    num_axes = len(problem.spec.shape)
    counts = (modes,) * num_axes if isinstance(modes, int) else tuple(modes)
    if len(counts) != num_axes:
        raise UserError(
            f"surrogate.modes={list(counts)} has {len(counts)} numbers for the {num_axes} axes "
            f"{', '.join(problem.spec.axis_names)}: give one an axis, or a single number"
        )
    return counts


def parameter_tensors(
    problem: Problem, parameters: Mapping[str, Any], batch: int, like: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Coefficient fields (B, K, *sites) and scalar parameters (B, P) out of a mapping by name.

    Raises:
        UserError: a name is missing or unknown, or a shape fits neither one case nor the batch.
    """
    legal = [*problem.spec.parameter_names, *problem.spec.coefficient_channels]
    missing = [name for name in legal if name not in parameters]
    unknown = [name for name in parameters if name not in legal]
    if missing or unknown:
        raise UserError(f"parameters: missing {missing}, unknown {unknown}; expected {legal}")

    def stacked(names: tuple[str, ...], sites: tuple[int, ...]) -> torch.Tensor:
        found = [_fitting(name, _on_device(parameters[name], like), batch, sites) for name in names]
        return torch.stack(found, dim=1) if found else like.new_empty(batch, 0, *sites)

    return stacked(problem.spec.coefficient_channels, problem.spec.shape), stacked(
        problem.spec.parameter_names, ()
    )


def nonzero_std(std: tuple[float, ...]) -> np.ndarray:
    """Standard deviations to divide by: 1 where a quantity never varies."""
    values = np.array(std, dtype=np.float64)
    return np.where(values > 0, values, 1.0)


def set_constants(module: nn.Module, **values: np.ndarray) -> None:
    """Buffers that follow `.to()` and are no part of the saved weights: the problem holds them."""
    for name, array in values.items():
        buffer = torch.tensor(array, dtype=torch.get_default_dtype())
        module.register_buffer(name, buffer, persistent=False)


def _fitting(name: str, tensor: torch.Tensor, batch: int, sites: tuple[int, ...]) -> torch.Tensor:
    if tensor.shape not in (sites, (batch, *sites)):
        raise UserError(
            f"parameter {name!r} has shape {tuple(tensor.shape)}; expected {(batch, *sites)} or {sites}"
        )
    return tensor.expand(batch, *sites)


def _on_device(values: Any, like: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(values, dtype=like.dtype, device=like.device)
