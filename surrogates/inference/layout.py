"""The memory layout of weights in which predictions are fastest."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def arranged(module: Module) -> Module:
    """Return the module with the weights of its convolutions stored with channels last, as are the fields.

    The values of the weights are unchanged. In other layouts each call of a convolution copies its weights.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            part.weight.data = part.weight.data.contiguous(memory_format=torch.channels_last)
        elif isinstance(part, nn.Conv3d):
            part.weight.data = part.weight.data.contiguous(memory_format=torch.channels_last_3d)
    return module
