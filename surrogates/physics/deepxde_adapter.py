"""The only module that imports DeepXDE: Hammersley points, and derivatives by reverse mode.

DeepXDE is imported at the first call, and the import is isolated. Without isolation, DeepXDE refuses to run
under Open MPI's variables, and writes its choice of backend into the home folder and to stderr. DeepXDE also
makes a GPU the default device of the whole process.
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


def hammersley_points(num_points: int, dimension: int) -> np.ndarray:
    """Return `num_points` Hammersley points in the unit cube, (num_points, dimension)."""
    points = _deepxde().geometry.sampler.sample(num_points, dimension, sampler="Hammersley")
    return np.asarray(points, dtype=np.float64)


def reverse_mode(inputs_MD: torch.Tensor, axes: Sequence[str]) -> Callable[[torch.Tensor, str], torch.Tensor]:
    """Return a function `derivative(values, axis)` that differentiates by reverse mode.

    `values` (M,) must be computed row by row from `inputs_MD`, which has the columns `axes`. The derivatives
    (M,) can be differentiated again, with respect to inputs and weights.
    """
    gradients: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def derivative(values: torch.Tensor, axis: str) -> torch.Tensor:
        # The dictionary keeps a reference to the values, so no other tensor can get the same id.
        if id(values) not in gradients:
            gradients[id(values)] = values, _gradient(values, inputs_MD)
        return gradients[id(values)][1][:, axes.index(axis)]

    return derivative


def _gradient(values: torch.Tensor, inputs_MD: torch.Tensor) -> torch.Tensor:
    differentiation = _deepxde().grad
    # Constant and linear values have no graph for higher derivatives. A sine has derivatives of all orders.
    columns = values[:, None] + 0 * torch.sin(inputs_MD).sum(-1, keepdim=True)
    try:
        gradient: torch.Tensor = differentiation.jacobian(columns, inputs_MD, i=0)
    finally:
        # DeepXDE caches the graph of every call.
        differentiation.clear()
    return gradient


@functools.cache
def _deepxde() -> Any:
    with _isolated_import():
        import deepxde  # type: ignore[import-untyped]
    return deepxde


@contextlib.contextmanager
def _isolated_import() -> Iterator[None]:
    """Restore the environment and the default device after the import of DeepXDE, and silence stderr."""
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
        # The device is set without a comparison: asking for the index of a GPU would initialise the GPU.
        torch.set_default_device(None if device.type == "cpu" else device)
