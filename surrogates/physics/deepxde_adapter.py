"""What is taken from DeepXDE: quasi-random points, and derivatives by reverse mode.

No other module imports it. It is imported when it is first needed, and leaves no trace: by itself DeepXDE
refuses to run under Open MPI's variables, writes its choice of backend into the home folder and to stderr,
and makes a GPU the default device of the whole process.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch


def points(count: int, dimension: int) -> np.ndarray:
    """`count` Hammersley points in the unit cube, (count, dimension)."""
    found = _deepxde().geometry.sampler.sample(count, dimension, sampler="Hammersley")
    return np.asarray(found, dtype=np.float64)


def reverse_mode(inputs_MD: torch.Tensor, axes: Sequence[str]) -> Callable[[torch.Tensor, str], torch.Tensor]:
    """`derivative(values, axis)` of values (M,) that were computed row by row from `inputs_MD`, whose columns
    are `axes`; what it gives can be differentiated again, by the inputs and by weights.
    """
    gradients: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def derivative(values: torch.Tensor, axis: str) -> torch.Tensor:
        # The values are kept with their gradient, so that no other tensor gets their id.
        if id(values) not in gradients:
            gradients[id(values)] = values, _gradient(values, inputs_MD)
        return gradients[id(values)][1][:, axes.index(axis)]

    return derivative


def _gradient(values: torch.Tensor, inputs_MD: torch.Tensor) -> torch.Tensor:
    gradient = _deepxde().grad
    # A sine has derivatives of all orders, where values that are constant or linear have no graph to follow.
    columns = values[:, None] + 0 * torch.sin(inputs_MD).sum(-1, keepdim=True)
    try:
        found: torch.Tensor = gradient.jacobian(columns, inputs_MD, i=0)
    finally:
        # It would keep the graph of every step.
        gradient.clear()
    return found


@functools.cache
def _deepxde() -> Any:
    with _untouched():
        import deepxde  # type: ignore[import-untyped]
    return deepxde


@contextlib.contextmanager
def _untouched() -> Iterator[None]:
    """Undoes what importing DeepXDE does to the process."""
    environment = dict(os.environ)
    device = torch.get_default_device()
    for name in environment:
        if name.startswith("OMPI_"):
            del os.environ[name]
    os.environ["DDE_BACKEND"] = "pytorch"
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
        # Not compared with what it is now: asking for a GPU's number starts work on the GPU.
        torch.set_default_device(None if device.type == "cpu" else device)
