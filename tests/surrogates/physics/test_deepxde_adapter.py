"""DeepXDE is used without what it does to a process by itself."""

from __future__ import annotations

import os
import subprocess
import sys

import torch

from surrogates.physics import deepxde_adapter

_USE = """
import os
import torch
before = dict(os.environ), torch.get_default_device(), torch.get_default_dtype()
from surrogates.physics import deepxde_adapter
import sys
assert "deepxde" not in sys.modules
points = deepxde_adapter.points(5, 2)
assert points.shape == (5, 2)
assert (dict(os.environ), torch.get_default_device(), torch.get_default_dtype()) == before
assert "mpi4py.MPI" not in sys.modules
"""


def test_its_import_leaves_no_trace() -> None:
    """As under mpirun, with a home folder that cannot be written."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("DDE")}
    environment |= {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0", "HOME": "/dev/null/home"}
    done = subprocess.run(
        [sys.executable, "-c", _USE], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "backend" not in done.stderr.lower()


_BESIDE_A_GPU = """
import torch
torch.cuda.is_available = lambda: True
from surrogates.physics import deepxde_adapter
deepxde_adapter.points(5, 2)
assert not torch.cuda.is_initialized()
assert torch.zeros(1).device == torch.get_default_device() == torch.device("cpu")
"""


def test_its_import_starts_no_work_on_a_gpu() -> None:
    """Where none is, starting it would be an error."""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", _BESIDE_A_GPU], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_derivatives_of_all_orders_even_where_nothing_varies() -> None:
    inputs = torch.tensor([[0.3, 2.0], [0.7, -1.0]], dtype=torch.float64, requires_grad=True)
    derivative = deepxde_adapter.reverse_mode(inputs, ("x", "y"))
    values = inputs[:, 0] ** 3 * inputs[:, 1]
    slope = derivative(values, "x")
    torch.testing.assert_close(slope, 3 * inputs[:, 0] ** 2 * inputs[:, 1])
    torch.testing.assert_close(derivative(slope, "y"), 3 * inputs[:, 0] ** 2)
    linear = derivative(inputs[:, 1] * 2, "y")
    torch.testing.assert_close(linear, torch.full((2,), 2.0, dtype=torch.float64))
    assert torch.equal(derivative(derivative(linear, "x"), "x"), torch.zeros(2, dtype=torch.float64))
    constant = torch.ones(2, dtype=torch.float64)
    assert torch.equal(derivative(constant, "x"), torch.zeros(2, dtype=torch.float64))


def test_no_gradient_outlives_its_step() -> None:
    inputs = torch.rand(4, 2, requires_grad=True)
    deepxde_adapter.reverse_mode(inputs, ("x", "y"))(inputs.square().sum(-1), "x")
    import deepxde  # type: ignore[import-untyped]

    assert not deepxde.gradients.gradients_reverse.jacobian._Jacobians.Js
