"""The sections `intervals`, `confidence` and `attribution` of metrics.json."""

from __future__ import annotations

import math
from typing import Literal

from pipeline.evaluation.section import Section

#: The probabilities whose coverage is measured.
NOMINAL_LEVELS = (0.5, 0.8, 0.9, 0.95)
#: The rank correlation of expected and measured error from which on the expected error ranks the errors.
RANKING_CORRELATION = 0.5
#: The smallest number of trajectories whose rank correlation is reported.
MIN_RANKED = 8
#: The rank correlation of two maps below which they count as different.
DIFFERENT_MAPS = 0.5

DEFINITIONS = {
    "coverage": "marginal: the share of the values of fields that lie in their intervals, over the "
    "trajectories, the frames after the first, the channels and the cells. Joint: the share of the "
    "trajectories of which every value lies in its interval",
    "coverage_width": "the mean width of the intervals, in standard deviations of the channel over the "
    "training split",
    "standard_error": "the standard deviation over the trajectories divided by the square root of their "
    "number. Verdicts and bars multiply it by sqrt(1 + trajectories / calibration trajectories), which adds "
    "the error of the calibration",
    "alarm": "the share of the trajectories whose inputs are farther from the training inputs than the "
    "threshold of the guard",
    "outside_range": "the share of the trajectories with an input outside the range of the training data",
    "predicted_error": "the expected relative L2 error at the end of the rollout, mean over the fields",
    "attribution": "integrated gradients of one predicted value, as shares of their sum of absolute values. "
    "The baseline is the mean of the training data, or for particles the first training trajectory. "
    "Completeness: the distance of their sum from the change of the value, relative to this change. Sanity: "
    "the rank correlation of the absolute gradients with those of the same network with shuffled weights",
}

ScaleSource = Literal["ensemble spread", "predicted standard deviation", "residual scale"]


class LevelCoverage(Section):
    """The coverage of the intervals of one probability. A value is null where the split is too small."""

    nominal: float
    marginal: float | None
    marginal_end: float | None
    marginal_standard_error: float | None
    marginal_width: float | None
    joint: float | None
    joint_standard_error: float | None
    joint_width: float | None


class CoverageResult(Section):
    """The coverage on one split: of the fields, and of each quantity of interest."""

    trajectories: int
    fields: list[LevelCoverage]
    quantities: dict[str, list[LevelCoverage]]

    def at(self, level: float) -> LevelCoverage:
        """Return the coverage of the intervals of one probability."""
        return next(entry for entry in self.fields if entry.nominal == level)


class IntervalResult(Section):
    """The intervals of a surrogate: their calibration and their coverage by split.

    `reason` says why there are no intervals; the splits are empty then. With `other_data`, the calibration is
    by the data set of the training, and the coverage that of another one. `duration` (s) is the time of the
    last calibrated frame after the start. `scale_trajectories` counts the valid trajectories that determine
    the scale of the scores.
    """

    reason: str = ""
    other_data: bool = False
    trajectories: int
    duration: float | None = None
    scale: ScaleSource
    scale_trajectories: int
    splits: dict[str, CoverageResult]

    def error_factor(self, split: str) -> float:
        """Return the factor of a standard error that adds the error of the calibration trajectories."""
        return math.sqrt(1 + self.splits[split].trajectories / self.trajectories)


class ConfidenceSplit(Section):
    """Alarms and expected errors on one split. A correlation is null for fewer than 8 trajectories."""

    trajectories: int
    outside_range: float
    alarm: float | None
    either: float
    predicted_error: list[float | None]
    error: list[float | None]
    rank_correlation: float | None

    @property
    def ranks_errors(self) -> bool:
        """Whether the expected errors rank the trajectories by their errors."""
        return self.rank_correlation is not None and self.rank_correlation >= RANKING_CORRELATION


class ConfidenceResult(Section):
    """The guard, the expected error, and their results by split.

    `fitted_on` counts the held-out trajectories of each split that determine threshold and expected error. It
    is empty for a model without calibration. `other_data`: see `IntervalResult`.
    """

    threshold: float | None
    alarm_rate: float | None
    features: int
    other_data: bool = False
    fitted_on: dict[str, int]
    has_predicted_error: bool
    splits: dict[str, ConfidenceSplit]


class ModeShare(Section):
    """The share of a wave vector in the mean square of the outputs of the spectral convolutions."""

    waves: list[float]
    share: float


class AttributionResult(Section):
    """The dependence of one predicted value of one test trajectory on its inputs.

    `output` names the value, `shares` holds the share of each input. `largest_cells` is the share of the
    tenth of the cells with the largest attributions. `modes` holds the most used Fourier modes, largest
    first, and is empty for other networks.
    """

    trajectory: int
    output: str
    time: float
    shares: dict[str, float]
    largest_cells: float | None
    completeness_error: float | None
    shuffled_correlation: float | None
    modes: list[ModeShare]

    @property
    def is_sane(self) -> bool:
        """Whether the map of the network differs from the map of its shuffled weights."""
        return self.shuffled_correlation is not None and abs(self.shuffled_correlation) < DIFFERENT_MAPS
