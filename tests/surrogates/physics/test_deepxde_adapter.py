"""The adapter of DeepXDE: late import, no side effects, and correct derivatives."""

from __future__ import annotations

import os
import subprocess
import sys

import torch

from surrogates.physics import deepxde_adapter

_SCRIPT = """
import dataclasses
import os
import sys
import numpy as np
import torch

import surrogates
from surrogates import pinn, store
from surrogates.physics import deepxde_adapter
from tests.support import problems

loaded_problem = dataclasses.replace(problems.fading_problem(), residual=None, initial_condition=None)
model = store.build("pinn", problems.options("pinn"), loaded_problem, "float32")
parameters = {"power": 2.0, "conductivity": np.ones((16, 17))}
model.predict(np.zeros((1, 2, 16, 17)), parameters, np.array([0.0, 1.0]))
assert "deepxde" not in sys.modules

# Pretend that there is a GPU. Any work on the GPU would fail on this machine.
torch.cuda.is_available = lambda: True
settings_before = dict(os.environ), torch.get_default_device(), torch.get_default_dtype()
assert deepxde_adapter.hammersley_points(5, 2).shape == (5, 2)
assert (dict(os.environ), torch.get_default_device(), torch.get_default_dtype()) == settings_before
assert not torch.cuda.is_initialized()
assert torch.zeros(1).device == torch.get_default_device() == torch.device("cpu")
assert "deepxde" in sys.modules
assert "mpi4py.MPI" not in sys.modules
"""


def test_deepxde_is_imported_late_and_without_side_effects() -> None:
    # Neither `import surrogates` nor the prediction of a loaded PINN imports DeepXDE.
    # The import is tested with the variables of mpirun, a read-only home folder and a simulated GPU.
    environment = {name: text for name, text in os.environ.items() if not name.startswith("DDE")}
    environment |= {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0", "HOME": "/dev/null/home"}
    environment |= {"CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.run(
        [sys.executable, "-c", _SCRIPT], env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    assert "backend" not in process.stderr.lower()


def test_derivatives_of_constant_and_linear_values_exist_to_any_order() -> None:
    inputs = torch.tensor([[0.3, 2.0], [0.7, -1.0]], dtype=torch.float64, requires_grad=True)
    derivative = deepxde_adapter.reverse_mode(inputs, ("x", "y"))
    values = inputs[:, 0] ** 3 * inputs[:, 1]
    first_derivative = derivative(values, "x")
    torch.testing.assert_close(first_derivative, 3 * inputs[:, 0] ** 2 * inputs[:, 1])
    torch.testing.assert_close(derivative(first_derivative, "y"), 3 * inputs[:, 0] ** 2)
    derivative_of_linear_values = derivative(inputs[:, 1] * 2, "y")
    torch.testing.assert_close(derivative_of_linear_values, torch.full((2,), 2.0, dtype=torch.float64))
    assert torch.equal(
        derivative(derivative(derivative_of_linear_values, "x"), "x"), torch.zeros(2, dtype=torch.float64)
    )
    constant_values = torch.ones(2, dtype=torch.float64)
    assert torch.equal(derivative(constant_values, "x"), torch.zeros(2, dtype=torch.float64))


def test_deepxde_keeps_no_gradient_after_a_call() -> None:
    inputs = torch.rand(4, 2, requires_grad=True)
    deepxde_adapter.reverse_mode(inputs, ("x", "y"))(inputs.square().sum(-1), "x")
    import deepxde  # type: ignore[import-untyped]

    assert not deepxde.gradients.gradients_reverse.jacobian._Jacobians.Js
