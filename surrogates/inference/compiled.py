"""Compiled functions of tensors, compared with the plain functions on their first call."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch

from simsurrogate.errors import UserError

_MAX_COMPILATIONS = 256


class CompiledFunction:
    """A function of tensors that `torch.compile` compiles at its first call.

    The first call for each shape of the first argument computes the plain function, too. The results must
    agree to half the digits of the precision.

    Args:
        function: the function; its first argument and its result are tensors.
        name: the name of the surrogate, for messages.

    Raises:
        UserError: on the first call, if compiling fails or the results disagree.
    """

    def __init__(self, function: Callable[..., torch.Tensor], name: str):
        self._function, self._name = function, name
        # Freezing copies the weights into the memory layout that the compiled code reads fastest.
        self._compiled = torch.compile(function, dynamic=False, options={"freezing": True})
        self._checked_shapes: set[torch.Size] = set()

    def __call__(self, first: torch.Tensor, *others: Any) -> torch.Tensor:
        """Return the result of the compiled function."""
        if first.shape in self._checked_shapes:
            return self._compiled(first, *others)
        expected = self._function(first, *others)
        try:
            # Each member of an ensemble and each shape has its own code, beyond the usual limit of 8.
            with torch._dynamo.config.patch(recompile_limit=_MAX_COMPILATIONS):
                result = self._compiled(first, *others)
        # All errors of the compiler derive from RuntimeError.
        except RuntimeError as error:
            raise UserError(
                f"torch.compile fails for {self._name} on this machine: "
                f"{str(error).strip().splitlines()[0]}. Compiled predictions need a C++ compiler. Install "
                "g++, or predict without compiled()."
            ) from error
        difference, norm = float((result - expected).norm()), float(expected.norm())
        bound = torch.finfo(expected.dtype).eps ** 0.5
        # `not a <= b` is true for NaN, unlike `a > b`.
        if math.isfinite(norm) and not difference <= bound * norm:
            raise UserError(
                f"The compiled {self._name} differs from the plain one by {difference / norm:.1e} on its "
                f"first call. At most {bound:.1e} is allowed. Predict without compiled()."
            )
        # A result of zeros would not show an error.
        if norm > 0:
            self._checked_shapes.add(first.shape)
        return result


class Compilable:
    """A class with a method that takes most of the time of its work and can be compiled.

    Attributes:
        kernel: the name of the method, from tensors to a tensor; empty if there is none.
    """

    kernel: ClassVar[str] = ""

    def compiled(self) -> Self:
        """Return a copy with the same weights whose predictions run code that `torch.compile` compiles.

        The first prediction of each batch size compiles, for up to a minute. Its result is compared with that
        of the plain code.

        Raises:
            UserError: the class has no method to compile. `predict` of the copy also raises it, if compiling
                fails on this machine or the results disagree.
        """
        if not self.kernel:
            raise UserError(
                f"{type(self).__name__} has no method to compile. Only networks on grids have one. Predict "
                "without compiled()."
            )
        result = copy.copy(self)
        method = getattr(self, self.kernel)
        object.__setattr__(result, self.kernel, CompiledFunction(method, type(self).__name__))
        return result
