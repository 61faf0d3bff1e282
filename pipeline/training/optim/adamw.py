"""AdamW without the import of PyTorch's compiler."""

from __future__ import annotations

import inspect

import torch


class AdamW(torch.optim.AdamW):
    """PyTorch's AdamW for steps that are not compiled.

    The decorators of PyTorch's methods import `torch._dynamo`, which takes 1.2 to 2 s, only to exclude the
    methods from compilation. Here they are absent; the arithmetic is the same.
    """

    add_param_group = inspect.unwrap(torch.optim.AdamW.add_param_group)
    load_state_dict = inspect.unwrap(torch.optim.AdamW.load_state_dict)
    state_dict = inspect.unwrap(torch.optim.AdamW.state_dict)
    zero_grad = inspect.unwrap(torch.optim.AdamW.zero_grad)
    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))
