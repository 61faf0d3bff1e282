"""Conversion of a caller's numbers to arrays and tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from simsurrogate.errors import UserError


def as_array(values: Any) -> np.ndarray:
    """Return numbers as an array: a tensor, a number, a list, or any array that numpy can read.

    Raises:
        UserError: the values are not real numbers.
    """
    if isinstance(values, torch.Tensor):
        # numpy has no bfloat16.
        has_few_digits = values.dtype in (torch.bfloat16, torch.float16)
        values = (values.double() if has_few_digits else values).numpy(force=True)
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise UserError(
            f"The values have the type {array.dtype}. Real numbers are allowed. Pass a number, a torch "
            "tensor or an array of floating-point numbers."
        )
    return array


def as_tensor(
    values: Any, dtype: torch.dtype | None = None, device: torch.device | None = None
) -> torch.Tensor:
    """Return numbers as a tensor: a tensor, a number, a list, or any array that numpy can read.

    PyTorch refuses reversed and big-endian arrays, and arrays of xarray. Their values are copied.

    Raises:
        UserError: the values are not real numbers.
    """
    if not isinstance(values, torch.Tensor):
        array = as_array(values)
        if array.dtype.kind != "f" or array.dtype.itemsize > 8:
            array = array.astype(np.float64)
        # PyTorch needs the byte order of the machine, positive strides and writable memory.
        is_suitable = array.flags.c_contiguous and array.flags.writeable and array.dtype.isnative
        values = array if is_suitable else np.require(array, array.dtype.newbyteorder("="), ["C", "W"])
    return torch.as_tensor(values, dtype=dtype, device=device)
