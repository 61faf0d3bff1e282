"""The errors of a rollout inside and beyond the predictable time of chaotic trajectories."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray

from pipeline.evaluation.metrics import summary
from pipeline.evaluation.schema import PredictabilityResult, Predictor, Summary

DEFINITIONS = {
    "predictable_time": "the time until which the solver's error of the steps in time stays below 1 %. "
    "Inside: the error at the last predictable frame. Beyond: the error at the end of the rollout, of the "
    "trajectories that are not predictable to the end; it is not meaningful",
}


def predictability_result(errors: xarray.DataArray, predictable_time: np.ndarray) -> PredictabilityResult:
    """Return the errors inside and beyond the predictable time, see `measure.Measurements`."""
    relative_errors = errors.sel(metric="relative_l2", mode="rollout").mean("field", skipna=False)
    errors_BPT = relative_errors.transpose("trajectory", "predictor", "time").to_numpy()
    time = errors["time"].to_numpy()
    # The number of predicted frames inside the predictable time, with a margin for round-off.
    num_inside = np.searchsorted(time, predictable_time + 1e-9 * time[-1], side="right")
    has_inside, is_incomplete = num_inside > 0, num_inside < len(time)
    errors_inside = errors_BPT[np.flatnonzero(has_inside), :, num_inside[has_inside] - 1]
    predictors = errors["predictor"].to_numpy().tolist()
    return PredictabilityResult(
        complete=int(np.count_nonzero(~is_incomplete)),
        inside=_summaries(errors_inside, predictors),
        beyond=_summaries(errors_BPT[is_incomplete, :, -1], predictors),
    )


def _summaries(errors: np.ndarray, predictors: Sequence[Predictor]) -> dict[Predictor, Summary]:
    """Return the statistics of the errors (trajectory, predictor) of each predictor; empty for no errors."""
    if not len(errors):
        return {}
    return {predictor: Summary.of(summary(errors[:, i])) for i, predictor in enumerate(predictors)}
