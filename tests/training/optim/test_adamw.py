"""AdamW without PyTorch's compiler: the same weights, and a start without that import."""

import sys

import torch

from pipeline.training.optim.adamw import AdamW
from tests.support.launching import require_success, run

PROGRAM = """
import sys
import torch
from pipeline.training.optim.adamw import AdamW
layer = torch.nn.Linear(2, 3)
optimiser = AdamW(layer.parameters(), fused=True)
layer(torch.ones(1, 2)).sum().backward()
optimiser.step()
optimiser.zero_grad()
optimiser.load_state_dict(optimiser.state_dict())
print("torch._dynamo" in sys.modules)
"""


def weights_after_steps(kind: type[torch.optim.AdamW]) -> list[torch.Tensor]:
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    optimiser = kind(layers.parameters(), lr=0.01, fused=True)
    for _ in range(5):
        optimiser.zero_grad()
        layers(torch.rand(3, 4)).square().sum().backward()
        optimiser.step()
        copy = kind(layers.parameters(), lr=0.01, fused=True)
        copy.load_state_dict(optimiser.state_dict())
        optimiser = copy
    return [parameter.detach() for parameter in layers.parameters()]


def test_the_weights_are_those_of_pytorch() -> None:
    for own, expected in zip(weights_after_steps(AdamW), weights_after_steps(torch.optim.AdamW), strict=True):
        assert torch.equal(own, expected)


def test_the_compiler_is_not_imported() -> None:
    assert require_success(run([sys.executable, "-c", PROGRAM])).stdout.strip() == "False"
