"""The relative L2 error, the only definition for losses, validation, evaluation and benchmarks.

    error = ‖p − u‖ / max(‖u‖, floor),    floor = 0.01 σ √n

p is the prediction and u the truth. ‖·‖ is the Euclidean norm over the sites and, for a vector field, over
its components. A rotation of the axes does not change the error. σ is the standard deviation of the field
over the training split, and n the number of sites. A truth below the floor, such as a field that dies out,
has no meaningful relative error. An exact prediction has the error 0, and a prediction of zero the error 1.
The FNO paper (arXiv:2010.08895) uses this error; PDEBench
(arXiv:2210.07182) calls it nRMSE.

- The training loss is the error of normalised states (`surrogates.grids.losses`).
- The validation computes the error of each field in physical units (`pipeline.training.validation`).
- The evaluation computes the same error, safe from overflow and division by zero
  (`pipeline.evaluation.metrics`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

Array = TypeVar("Array")

#: The smallest norm of a frame that divides an error, in standard deviations of the training split.
_FLOOR = 1e-2


def relative_l2(prediction: Array, truth: Array, norm: Callable[[Array], Array], floor: float) -> Array:
    """Return ‖prediction − truth‖ / max(‖truth‖, floor).

    Args:
        prediction: a numpy array or torch tensor.
        truth: an array of the same library and shape.
        norm: the Euclidean norm over the axes of sites and components.
        floor: the lower bound of the denominator, in the unit of the norm.
    """
    # Numpy and torch have the same operators and the same method `clip`.
    p, u = cast("Any", prediction), cast("Any", truth)
    return cast("Array", norm(p - u) / cast("Any", norm(u)).clip(floor))


def norm_floor(std: Sequence[float], num_sites: int) -> float:
    """Return the floor of the norm of a field, from the standard deviation of each of its components."""
    return float(_FLOOR * math.hypot(*std) * num_sites**0.5)
