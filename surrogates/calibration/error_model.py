"""The expected error of a prediction, from its inputs and its own values.

Shape letters: B cases, N held-out trajectories, T frames after the first, C channels, G predictors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from surrogates.calibration.features import Inputs
from surrogates.calibration.guard import Guard
from surrogates.prediction import Prediction

#: The smallest number of held-out trajectories to learn the error from.
MIN_TRAJECTORIES = 10
#: The strengths of the ridge regression, relative to the number of trajectories.
_STRENGTHS = 10.0 ** np.arange(-3, 2.5, 0.5)
_LEAST_ERROR = 1e-12


@dataclass(frozen=True)
class ErrorModel:
    """A ridge regression of the logarithm of the relative L2 error at each frame.

    The predictors are the distance from the training inputs, the principal components of the features of the
    inputs, and for each field the logarithms of the size of the predicted frame, of its change since the
    start, and of the spread of an ensemble, in standard deviations of the training data. The strength of the
    ridge minimises the leave-one-out error. A predicted error is at most 10 times smaller or larger than all
    errors of the held-out trajectories.

    Attributes:
        lead_times: the durations after the start of the frames (T,), s, in float64 like all arrays.
        centre: the mean of each predictor (T, G).
        weights: the weights of the predictors (T, G).
        offset: the mean of the logarithm of the error (T,).
        bounds: the lower and the upper bound of the logarithm (T, 2).
    """

    lead_times: torch.Tensor
    centre: torch.Tensor
    weights: torch.Tensor
    offset: torch.Tensor
    bounds: torch.Tensor

    @classmethod
    def of(cls, lead_times: np.ndarray, predictors: np.ndarray, errors: np.ndarray) -> Self | None:
        """Return the regression of errors (N, T) on predictors (N, T, G); None for too few trajectories."""
        if len(errors) < MIN_TRAJECTORIES:
            return None
        logarithms = np.log(np.clip(np.nan_to_num(errors, nan=np.inf), _LEAST_ERROR, 1 / _LEAST_ERROR))
        centre, offset = predictors.mean(0), logarithms.mean(0)
        weights = np.stack(
            [
                _ridge(predictors[:, frame] - centre[frame], logarithms[:, frame] - offset[frame])
                for frame in range(len(lead_times))
            ]
        )
        bounds = np.stack([logarithms.min(0) - np.log(10), logarithms.max(0) + np.log(10)], axis=1)
        arrays = (np.array(lead_times, np.float64), centre, weights, offset, bounds)
        return cls(*[torch.from_numpy(np.ascontiguousarray(array)) for array in arrays])

    def errors(self, durations: np.ndarray, predictors: np.ndarray) -> np.ndarray:
        """Return the expected relative errors (B, D) at durations (D,), s, from predictors (B, D, G).

        The nearest frame counts. The error at duration 0 is 0, and NaN beyond the last frame.
        """
        lead_times = self.lead_times.numpy()
        frame = np.abs(lead_times[None] - durations[:, None]).argmin(axis=1)
        centre, weights = self.centre.numpy()[frame], self.weights.numpy()[frame]
        logarithm = self.offset.numpy()[frame] + ((predictors - centre) * weights).sum(-1)
        lower, upper = self.bounds.numpy()[frame].T
        result = np.where(durations > 0, np.exp(np.clip(logarithm, lower, upper)), 0.0)
        result[:, durations > lead_times[-1] * (1 + 1e-6)] = np.nan
        return result


def error_predictors(prediction: Prediction, inputs: Inputs, guard: Guard | None) -> np.ndarray:
    """Return the predictors (B, T, G) of `ErrorModel`, with T the frames of the prediction."""
    mean = prediction.mean.double().numpy(force=True)
    size, num_frames = mean.shape[:2]
    columns = []
    if guard is not None:
        distance = np.log(guard.distances(inputs.features) + 1e-6)
        fixed = np.concatenate([distance[:, None], guard.project(inputs.features)], axis=1)
        columns = [np.broadcast_to(column[:, None], (size, num_frames)) for column in fixed.T]
    fields = [mean, mean - inputs.state[:, None]]
    if prediction.standard_deviation is not None:
        fields.append(prediction.standard_deviation.double().numpy(force=True))
    std = np.array(inputs.std)
    for values in fields:
        for channels in map(list, inputs.spec.field_channels):
            scale = np.where(std[channels] > 0, std[channels], 1.0).reshape(-1, *[1] * (mean.ndim - 3))
            normalised = (values[:, :, channels] / scale).reshape(size, num_frames, -1)
            with np.errstate(over="ignore", invalid="ignore"):
                norm = np.sqrt(np.square(normalised).mean(-1))
            columns.append(np.log(np.clip(np.nan_to_num(norm, nan=np.inf), 1e-9, 1e9)))
    return np.stack(columns, axis=-1)


def _ridge(predictors: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the weights of the ridge regression with the smallest leave-one-out error.

    The predictors (N, G) and the target (N,) are centred; the predictors are scaled to variance 1 inside.
    """
    scale = predictors.std(0)
    scale = np.where(scale > 1e-9, scale, np.inf)
    left, singular, right = np.linalg.svd(predictors / scale, full_matrices=False)
    projected = left.T @ target
    best, best_error = np.zeros(len(scale)), np.inf
    for strength in _STRENGTHS * len(target):
        shrinkage = singular**2 / (singular**2 + strength)
        # The mean of the target was removed, which is one more degree of freedom.
        leverage = np.minimum(np.square(left) @ shrinkage + 1 / len(target), 1 - 1e-9)
        error = float(np.mean(np.square((target - left @ (shrinkage * projected)) / (1 - leverage))))
        if error < best_error:
            filtered = singular / (singular**2 + strength) * projected
            best, best_error = (right.T @ filtered) / scale, error
    return best
