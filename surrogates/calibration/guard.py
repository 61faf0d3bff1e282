"""The distance of inputs from the training data in the space of their features.

Shape letters: B cases, N training cases, F features, D principal components.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

#: The largest number of training cases that are kept, of principal components, and of the share of the
#: variance of the standardised features in these components.
MAX_REFERENCES = 512
_MAX_COMPONENTS = 16
_VARIANCE_SHARE = 0.99
#: The distance to this neighbour counts.
_NEIGHBOUR = 5
#: The share of usual inputs with an alarm, if there are enough held-out trajectories.
_ALARM_RATE = 0.01


@dataclass(frozen=True)
class Guard:
    """The distance of inputs from the training inputs, and the threshold of an alarm.

    The features are standardised and projected on their principal components, each scaled to variance 1. The
    distance of an input is the Euclidean distance to the fifth nearest of at most 512 training inputs. The
    threshold is a conformal quantile of the distances of held-out inputs: for an input from the distribution
    of the training data, the probability of an alarm is at most `alarm_rate`. The rate is 1 %, or 1/(N + 1)
    for N < 99 held-out trajectories.

    Source: Sun, Ming, Zhu & Li 2022, "Out-of-distribution detection with deep nearest neighbors"
    (arXiv 2204.06507), here with features of the inputs; Bates et al. 2023, "Testing for outliers with
    conformal p-values" (arXiv 2104.08279), for the threshold.

    Attributes:
        mean: the mean of each feature (F,), in float64 like all arrays.
        std: the standard deviation of each feature (F,); infinite for a feature that does not vary.
        components: the scaled principal components (F, D).
        references: the training inputs (N, D).
        threshold: the distance above which an input is unusual.
        alarm_rate: the largest probability of a false alarm.
    """

    mean: torch.Tensor
    std: torch.Tensor
    components: torch.Tensor
    references: torch.Tensor
    threshold: float
    alarm_rate: float

    @classmethod
    def of(cls, training: np.ndarray, held_out: np.ndarray) -> Self | None:
        """Return the guard of the features (N, F) of training inputs and of held-out inputs.

        The result is None without features that vary, or without held-out inputs.
        """
        if not training.shape[1] or len(training) < 2 or not len(held_out):
            return None
        mean, std = training.mean(0), training.std(0)
        std = np.where(std > 1e-6 * np.abs(mean) + 1e-300, std, np.inf)
        if not np.isfinite(std).any():
            return None
        standardised = (training - mean) / std
        values, vectors = np.linalg.eigh(standardised.T @ standardised / len(training))
        values, vectors = values[::-1].clip(0), vectors[:, ::-1]
        explained = np.cumsum(values) / values.sum()
        count = min(int(np.searchsorted(explained, _VARIANCE_SHARE)) + 1, _MAX_COMPONENTS, len(values))
        components = vectors[:, :count] / np.sqrt(values[:count])
        references = (standardised @ components)[:MAX_REFERENCES]
        arrays = [torch.from_numpy(np.ascontiguousarray(x)) for x in (mean, std, components, references)]
        guard = cls(arrays[0], arrays[1], arrays[2], arrays[3], math.inf, 0.0)
        distances = np.sort(guard.distances(held_out))
        rate = max(_ALARM_RATE, 1 / (len(distances) + 1))
        rank = math.ceil((len(distances) + 1) * (1 - rate) - 1e-9)
        return dataclasses.replace(guard, threshold=float(distances[rank - 1]), alarm_rate=rate)

    def project(self, features: np.ndarray) -> np.ndarray:
        """Return the scaled principal components (B, D) of features (B, F)."""
        standardised = (features - self.mean.numpy()) / self.std.numpy()
        projected: np.ndarray = standardised @ self.components.numpy()
        return projected

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Return the distance of each case (B,) from the training inputs, for features (B, F)."""
        projected, references = self.project(features), self.references.numpy()
        neighbour = min(_NEIGHBOUR, len(references)) - 1
        result = np.empty(len(projected))
        for index, point in enumerate(projected):
            squared = np.square(references - point).sum(axis=1)
            result[index] = math.sqrt(np.partition(squared, neighbour)[neighbour])
        return result
