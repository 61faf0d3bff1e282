"""The relative L2 error, the only definition for losses, validation, evaluation and benchmarks.

    error = ‖p − u‖ / max(‖u‖, floor)

p is the prediction and u the truth. ‖·‖ is the Euclidean norm over the sites and, for a vector field, over
its components. A rotation of the axes does not change the error. An exact prediction has the error 0. A
prediction of zero has the error 1. The FNO paper (arXiv:2010.08895) uses this error; PDEBench
(arXiv:2210.07182) calls it nRMSE.

- The training loss is the error of normalised states, computed for each channel, with a floor of 0.01
  standard deviations (`surrogates.grids.losses`).
- The validation computes the error of each field in physical units (`pipeline.training.validation`).
- The evaluation computes the same error, safe from overflow and division by zero
  (`pipeline.evaluation.metrics`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

Array = TypeVar("Array")


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
