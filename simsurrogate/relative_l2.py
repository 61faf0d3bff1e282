"""The relative L2 error: the shared definition of losses, validation, evaluation and benchmarks.

    error = ‖p − u‖ / max(‖u‖, floor)

p is the prediction and u the truth. ‖·‖ is the Euclidean norm over the sites and, for a vector field, over
its components. A rotation of the axes does not change the error. An exact prediction has the error 0, a
prediction of zero has the error 1. The FNO paper (arXiv:2010.08895) uses this error; PDEBench
(arXiv:2210.07182) calls it nRMSE.

- The training loss takes the error of normalised states, each channel separately, with a floor of 0.01
  standard deviations (`surrogates.grids.losses`).
- The validation takes the error of each field in physical units (`pipeline.training.validation`).
- The evaluation does the same, safe from overflow and for truths of zero (`pipeline.evaluation.metrics`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

Array = TypeVar("Array")


def relative_l2(prediction: Array, truth: Array, norm: Callable[[Array], Array], floor: float) -> Array:
    """Return ‖prediction − truth‖ / max(‖truth‖, floor).

    Args:
        prediction: an array of numpy or torch.
        truth: the same shape.
        norm: the Euclidean norm over the axes of sites and components.
        floor: the smallest size of the truth to divide by, in the unit of the norm.
    """
    # Numpy and torch share the operators and `clip(smallest)`.
    predicted, true = cast("Any", prediction), cast("Any", truth)
    return cast("Array", norm(predicted - true) / cast("Any", norm(true)).clip(floor))
