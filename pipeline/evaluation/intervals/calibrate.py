"""The calibration of a surrogate by the splits `valid` and `calibration` of a data set.

Shape letters: B trajectories of a batch, N trajectories, T frames after the first, F features, G predictors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.evaluation.intervals import scales
from pipeline.evaluation.intervals.residuals import HeldOut, PredictedBatch
from surrogates.calibration import Calibration, ErrorModel, Guard, Inputs, Intervals
from surrogates.calibration.error_model import error_predictors
from surrogates.calibration.guard import MAX_REFERENCES

if TYPE_CHECKING:
    from pipeline.data.dataset import Dataset
    from surrogates.contract import Surrogate

#: The largest number of valid trajectories for the scale of the scores, and of calibration trajectories.
_MAX_SCALE, MAX_CALIBRATION = 64, 4096


@dataclass(frozen=True)
class _Observed:
    """The features (B, F), the errors (B, T) and their predictors (B, T, G) of some trajectories."""

    features: np.ndarray
    errors: np.ndarray
    predictors: np.ndarray


def calibrate(held_out: HeldOut) -> Calibration:
    """Return the calibration of a surrogate by the data set of its training, the same on all ranks.

    The residual scale is the mean absolute residual of up to 64 trajectories of `valid`, of each channel,
    frame and cell, drawn towards the mean over the cells of the frame. The scale is a fixed function for the
    trajectories of `calibration`, so it has no influence on the coverage. The scores come from `calibration`
    alone, because `valid` selected the weights and its residuals are smaller than those of new trajectories.
    The guard and the expected error use both splits: the inputs of `valid` had no influence on the weights.
    """
    surrogate, dataset = held_out.surrogate, held_out.dataset
    training = training_features(surrogate, dataset)
    num_valid = min(_MAX_SCALE, dataset.num_trajectories("valid"))
    num_calibration = min(MAX_CALIBRATION, dataset.num_trajectories("calibration"))
    # The distances do not depend on the threshold.
    guard = Guard.of(training, training[:1])

    def observe(batch: PredictedBatch) -> _Observed:
        predictors = error_predictors(batch.prediction, batch.inputs, guard)[:, 1:]
        return _Observed(batch.inputs.features, batch.error, predictors)

    valid = held_out.map("valid", num_valid, lambda batch: (scales.sums(batch), observe(batch)))
    uncalibrated = scales.uncalibrated([sums for sums, _ in valid], surrogate, dataset)
    observed = [entry for _, entry in valid]
    intervals: list[Intervals | None] = [None, None]
    if num_calibration:
        results = held_out.map(
            "calibration",
            num_calibration,
            lambda batch: (scales.scores(batch, uncalibrated, num_calibration), observe(batch)),
        )
        observed += [entry for _, entry in results]
        intervals = [
            None if part is None else scales.with_scores(part, [scores[index] for scores, _ in results])
            for index, part in enumerate(uncalibrated)
        ]
    errors, predictors, features = (
        np.concatenate([getattr(entry, name) for entry in observed])
        for name in ("errors", "predictors", "features")
    )
    return Calibration(
        dataset=dataset.identity,
        intervals=intervals[0],
        quantities=intervals[1],
        guard=Guard.of(training, features),
        error_model=ErrorModel.of(dataset.times[1:] - dataset.times[0], predictors, errors),
        fitted_on={"valid": num_valid, "calibration": num_calibration},
    )


def model_calibration(held_out: HeldOut, *, is_trained_on: bool) -> Calibration:
    """Return the calibration of a model by the data set of its training.

    A calibration by another data set would take its inputs for the training inputs, so the result is then the
    stored calibration of the model. The result is empty if there is none, or none for this grid.
    """
    if is_trained_on:
        return calibrate(held_out)
    stored = held_out.surrogate.calibration
    return Calibration("") if isinstance(stored, str) else stored


def training_features(surrogate: Surrogate, dataset: Dataset) -> np.ndarray:
    """Return the features (N, F) of the inputs of training trajectories, evenly spaced in the split."""
    windows = dataset.windows("train", 1)
    total, num_frames = dataset.num_trajectories("train"), len(dataset.times)
    positions = np.unique(np.linspace(0, total - 1, min(total, MAX_REFERENCES)).astype(int))
    features = []
    for start in range(0, len(positions), 16):
        batch = windows.take(positions[start : start + 16] * num_frames)
        coefficients = np.moveaxis(batch["coefficient_fields"], 1, 0)
        parameters = dict(zip(dataset.spec.coefficient_channels, coefficients, strict=True))
        parameters |= dict(zip(dataset.spec.parameter_names, batch["parameters"].T, strict=True))
        std = surrogate.problem.statistics.std
        inputs = Inputs(
            surrogate.problem.spec, std, batch["state"][:, 0], parameters, surrogate.uses_initial_state
        )
        features.append(inputs.features)
    return np.concatenate(features)
