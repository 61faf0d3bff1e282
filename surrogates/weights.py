"""The number of weights of a surrogate, from a construction without the memory of the weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from simsurrogate.errors import UserError
from surrogates.contract import Surrogate

#: The largest number of arrays of weights. Each array takes about 0.1 ms and 1 kB in every stage.
MAX_ARRAYS = 5000

#: Arrays of fewer values are created as usual, because a constructor may need the values.
_NUM_SMALL_VALUES = 2**16
_FACTORIES = frozenset({torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn})


def construct_without_memory(construct: Callable[[], Surrogate]) -> Surrogate:
    """Return a surrogate whose large arrays have shapes and no values; the random generator is unchanged.

    Raises:
        UserError: the surrogate has more than `MAX_ARRAYS` arrays of weights, or an array that no machine can
            hold.
    """
    try:
        with torch.random.fork_rng(devices=[]), _limited_arrays(), _LargeArraysWithoutValues():
            return construct()
    except (TypeError, RuntimeError, OverflowError) as error:
        if "meta" in str(error):
            return construct()  # The constructor needs the values of a large array.
        if not re.search("overflow|too large to convert", str(error), re.IGNORECASE):
            raise
        raise UserError(
            f"the surrogate has an array of more weights than any machine can hold "
            f"({str(error).splitlines()[0]}). A smaller surrogate is allowed. Type smaller options of "
            "surrogate, such as surrogate.width"
        ) from error


def num_weights(surrogate: Surrogate) -> int:
    """Return the number of weights."""
    return sum(weight.numel() for weight in surrogate.parameters())


@contextmanager
def _limited_arrays() -> Iterator[None]:
    """Refuse more than `MAX_ARRAYS` arrays of weights when they are created."""
    num_arrays = 0

    def count(module: torch.nn.Module, name: str, weight: torch.nn.Parameter) -> None:
        nonlocal num_arrays
        num_arrays += 1
        if num_arrays > MAX_ARRAYS:
            raise UserError(
                f"the surrogate has more than {MAX_ARRAYS} arrays of weights, about six in each layer. A "
                "surrogate of fewer layers is allowed. Type a smaller surrogate.layers"
            )

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


class _LargeArraysWithoutValues(TorchFunctionMode):
    """Create large arrays on PyTorch's device `meta`, which has shapes and no values."""

    def __torch_function__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if func in _FACTORIES and options.get("device") is None:
            # `empty` on `meta` needs no other module; the other factories import SymPy there, for a second.
            size = {"size": options["size"]} if "size" in options else {}
            sketch = torch.empty(*(args[:1] if func is torch.full else args), **size, device="meta")
            if sketch.numel() > _NUM_SMALL_VALUES:
                return func(*args, **(options | {"device": "meta"}))
        return func(*args, **options)
