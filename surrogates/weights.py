"""The number of weights of a surrogate, from a construction without the memory of the weights."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from simsurrogate.errors import UserError
from simsurrogate.memory import available_bytes, require_memory, size_text
from simsurrogate.spec import Spec
from surrogates.contract import Surrogate

#: The states in memory during a prediction: the input, its normalised copy, the change, and the result.
_NUM_STATES = 4
#: The largest number of arrays of weights. Each array takes about 0.1 ms and 1 kB in every stage.
MAX_ARRAYS = 5000

#: Arrays of fewer values are created as usual, because a constructor may need the values.
_NUM_SMALL_VALUES = 2**16
#: The limit of arrays with values during the construction of a trained model, for constructors that use
#: temporary arrays: a multiple of the size of the weights, and at least a number of bytes.
_MAX_RATIO = 16
_MIN_BYTES = 2**28
_FACTORIES = frozenset({torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn})


def construct_without_memory(
    construct: Callable[[], Surrogate], weights_bytes: int | None = None
) -> Surrogate:
    """Return a surrogate whose large arrays have shapes and no values; the random generator is unchanged.

    A constructor may need the values of a large array. All its arrays then have values, of a limited size.

    Args:
        construct: the constructor.
        weights_bytes: the size of the file of the trained weights, which limits arrays with values; None for
            the limit of the free memory.

    Raises:
        UserError: the surrogate has more than `MAX_ARRAYS` arrays of weights, an array that no machine can
            hold, or arrays with values beyond the limit.
    """
    try:
        return _construct(construct, _LargeArraysWithoutValues())
    except (TypeError, RuntimeError, OverflowError) as error:
        if "meta" in str(error):
            max_bytes = available_bytes()
            if weights_bytes is not None:
                max_bytes = min(max_bytes, max(_MAX_RATIO * weights_bytes, _MIN_BYTES))
            return _construct(construct, _LimitedArraysWithValues(max_bytes))
        if not re.search("overflow|too large to convert", str(error), re.IGNORECASE):
            raise
        raise UserError(
            f"the surrogate has an array of more weights than any machine can hold "
            f"({str(error).splitlines()[0]}). A smaller surrogate is allowed. Type smaller options of "
            "surrogate, such as surrogate.width"
        ) from error


def _construct(construct: Callable[[], Surrogate], mode: TorchFunctionMode) -> Surrogate:
    with torch.random.fork_rng(devices=[]), _limited_arrays(), mode:
        return construct()


def num_weights(surrogate: Surrogate) -> int:
    """Return the number of weights."""
    return sum(weight.numel() for weight in surrogate.parameters())


def refuse_other_size(path: Path, spec: Spec, construct: Callable[[], Surrogate], itemsize: int) -> None:
    """Refuse a model whose states need more memory than is free, or with more weights than its file.

    Args:
        path: the file of the weights.
        spec: the spec of the model.
        construct: the constructor of the model.
        itemsize: the bytes of a weight.

    Raises:
        UserError: the model does not fit; no large array was allocated.
    """
    num_values = math.prod(spec.shape) * (len(spec.channels) + len(spec.coefficient_channels))
    require_memory(
        _NUM_STATES * 8 * num_values,
        f"a prediction on {math.prod(spec.shape)} sites",
        "the name of a model of a smaller problem",
    )
    size = path.stat().st_size
    needed = itemsize * num_weights(construct_without_memory(construct, size))
    if needed > size:
        raise UserError(f"it has {size} bytes, and its surrogate has weights of {needed} bytes")
    require_memory(2 * needed, f"reading {path}", "the name of a smaller model")


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


class _NewArrays(TorchFunctionMode):
    """Call `prepare` before PyTorch creates an array."""

    def prepare(self, sketch: torch.Tensor, options: Mapping[str, object]) -> torch.Tensor | None:
        """Refuse the array, or return the array to use instead of it, or None.

        Args:
            sketch: an array without values of the same shape and type.
            options: the options of the call.
        """
        raise NotImplementedError

    def __torch_function__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = kwargs or {}
        replacement = self.prepare(_sketch(func, args, options), options) if func in _FACTORIES else None
        return func(*args, **options) if replacement is None else replacement


class _LargeArraysWithoutValues(_NewArrays):
    """Create large arrays on PyTorch's device `meta`, which has shapes and no values."""

    def prepare(self, sketch: torch.Tensor, options: Mapping[str, object]) -> torch.Tensor | None:
        if options.get("device") is None and sketch.numel() > _NUM_SMALL_VALUES:
            return sketch.requires_grad_(bool(options.get("requires_grad", False)))
        return None


class _LimitedArraysWithValues(_NewArrays):
    """Refuse arrays of more than `max_bytes` bytes in total before they are created."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__()
        self._max_bytes = max_bytes
        self._num_bytes = 0

    def prepare(self, sketch: torch.Tensor, options: Mapping[str, object]) -> None:
        self._num_bytes += sketch.nbytes
        if self._num_bytes > self._max_bytes:
            raise UserError(
                f"the surrogate needs the values of {size_text(self._num_bytes)} of arrays for its "
                f"construction. At most {size_text(self._max_bytes)} are allowed here. Type smaller "
                "options of surrogate, such as surrogate.width"
            )


def _sketch(func: Any, args: tuple[Any, ...], options: Mapping[str, Any]) -> torch.Tensor:
    """Return an array without values of the shape and type that a call creates.

    `empty` on `meta` needs no other module; the other factories import SymPy there, for a second.
    """
    size = {name: options[name] for name in ("size", "dtype") if name in options}
    if func is torch.full and options.get("dtype") is None:
        size["dtype"] = torch.tensor(options["fill_value"] if "fill_value" in options else args[1]).dtype
    return torch.empty(*(args[:1] if func is torch.full else args), **size, device="meta")
