"""The typed content of metrics.json.

`None` stands for a number that is not finite: a prediction diverged, or a field does not vary at all.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Final, Literal, get_args

from pydantic import AfterValidator, Field

from pipeline.evaluation.intervals.result import AttributionResult, ConfidenceResult, IntervalResult
from pipeline.evaluation.metrics.bootstrap import Interval
from pipeline.evaluation.metrics.sections import (
    FieldMetricResults,
    HorizonResult,
    ProbabilityResult,
    SeedResult,
    SpectrumResult,
)
from pipeline.evaluation.mlperf.speed import TrainingSpeed
from pipeline.evaluation.section import Section, SeriesSummary, Summary
from pipeline.evaluation.worth_result import WorthResult
from simsurrogate.documents import read_json
from simsurrogate.files import write_whole

__all__ = [
    "BASELINES",
    "MODES",
    "PREDICTORS",
    "SCHEMA_VERSION",
    "ByTrajectory",
    "Comparison",
    "DataError",
    "EnsembleSpread",
    "GridResult",
    "Headline",
    "InvariantResult",
    "Metric",
    "Metrics",
    "Mode",
    "PredictabilityResult",
    "Predictor",
    "SeriesSummary",
    "SourcePredictor",
    "SourceResult",
    "SplitResult",
    "Summary",
    "objective",
    "read",
    "write",
]

SCHEMA_VERSION: Final = 5

#: The surrogate, the baselines to compare with, and two parts of the surrogate's error. Only some solvers
#: have the baseline `linear`, only evenly spaced frames have the fitted baselines `ridge` and `dmd`, and
#: only a surrogate with a reduced basis has the parts.
Predictor = Literal["surrogate", "persistence", "mean", "linear", "ridge", "dmd", "projection", "regression"]
PREDICTORS: tuple[Predictor, ...] = get_args(Predictor)
_OPTIONAL_PREDICTORS = {"linear", "ridge", "dmd", "projection", "regression"}
#: The baselines, with which a surrogate is compared.
BASELINES: tuple[Predictor, ...] = ("persistence", "mean", "linear", "ridge", "dmd")
#: The two parts of the error of a surrogate with a reduced basis, which are no baselines.
ERROR_PARTS: tuple[Predictor, ...] = ("projection", "regression")
#: The two kinds of prediction: each frame from the previous true frame, all frames from the initial state.
Mode = Literal["one_step", "rollout"]
MODES: tuple[Mode, ...] = ("one_step", "rollout")
Metric = Literal["relative_l2", "vrmse"]


class Headline(Section):
    """The relative L2 error, mean over the fields: of single steps, and at the end of the rollout.

    The intervals are bootstrap intervals of the medians over the trajectories.
    """

    one_step: Summary
    rollout_end: Summary
    one_step_interval: Interval | None = None
    rollout_end_interval: Interval | None = None


class Comparison(Section):
    """The median error of a baseline over that of the surrogate, at the end of the rollout.

    A ratio above 1 means that the surrogate is more accurate. The bootstrap interval takes both medians over
    the same trajectories. If it contains 1, the trajectories do not decide which one is more accurate.
    """

    ratio: float | None
    interval: Interval


class DataError(Section):
    """The relative error of a field of the data themselves, from the grid and from the steps in time.

    `median` and `worst` hold the errors at each frame (T,); null where the error is not known. `source` is
    the origin of the numbers, in words.
    """

    median: list[float | None]
    worst: list[float | None]
    source: str

    @property
    def last_frame(self) -> int:
        """The last frame whose error is known."""
        return max(frame for frame, error in enumerate(self.median) if error is not None)


class ByTrajectory(Section):
    """The index of each trajectory in the data set, and the surrogate's error at the end of its rollout."""

    index: list[int]
    rollout_end: list[float | None]


class InvariantResult(Section):
    """One invariant: its size in the truth, and the distance between prediction and truth at each time."""

    size: float | None
    error: SeriesSummary


class EnsembleSpread(Section):
    """The standard deviation over the members of an ensemble, in the rollout."""

    members: int
    relative_l2: dict[str, SeriesSummary]
    rollout_end: Summary
    ratio_to_error: float | None
    error_correlation: float | None


class PredictabilityResult(Section):
    """The rollout error inside and beyond the predictable time of chaotic trajectories.

    `complete` is the number of trajectories that are predictable up to the last frame. `inside` holds the
    error at the last predictable frame, of the trajectories with such a frame after the first. `beyond` holds
    the error at the last frame of the trajectories that are not complete. Both are empty without such
    trajectories.
    """

    complete: int
    inside: dict[Predictor, Summary]
    beyond: dict[Predictor, Summary]


def _with_all_predictors(headline: dict[Predictor, Headline]) -> dict[Predictor, Headline]:
    if set(headline) | _OPTIONAL_PREDICTORS != set(PREDICTORS):
        raise ValueError(f"{', '.join(headline)} found, {', '.join(PREDICTORS)} expected")
    return headline


class SplitResult(Section):
    """The results on one split.

    `headline` and `errors` hold the same predictors, in the order of `PREDICTORS`. `errors` holds the
    predictor, the mode, the metric and the field, in this order; a series has one value for each frame after
    the first. `below_floor` holds the number of trajectories whose truth is below the
    floor, by metric and field, at each frame after the first. `invariants` holds the invariants by name, with
    one value for each frame. `metrics` holds the metrics that have no floor, `spectra` the spectrum of each
    field, `probability` the scores of each field's predicted distribution. `energy_drift` (particles) holds
    the relative change of the energy since the first frame. `skipped` holds a sentence for each metric that
    does not apply.
    """

    trajectories: int
    headline: Annotated[dict[Predictor, Headline], AfterValidator(_with_all_predictors)]
    by_trajectory: ByTrajectory
    below_floor: dict[Metric, dict[str, list[int]]]
    errors: dict[Predictor, dict[Mode, dict[Metric, dict[str, SeriesSummary]]]]
    invariants: dict[str, InvariantResult]
    ensemble_spread: EnsembleSpread | None = None
    predictability: PredictabilityResult | None = None
    comparisons: dict[Predictor, Comparison] = Field(default_factory=dict)
    metrics: FieldMetricResults = Field(default_factory=dict)
    spectra: dict[str, SpectrumResult] = Field(default_factory=dict)
    horizon: HorizonResult | None = None
    probability: dict[str, ProbabilityResult] = Field(default_factory=dict)
    seeds: SeedResult | None = None
    energy_drift: dict[Literal["truth", "surrogate"], SeriesSummary] = Field(default_factory=dict)
    skipped: dict[str, str] = Field(default_factory=dict)

    def is_meaningful(self, metric: Metric, field: str, frame: int) -> bool:
        """Return whether the truth of most trajectories is above the floor, at a frame after the first."""
        return 2 * self.below_floor[metric][field][frame] < self.trajectories

    @property
    def vanished_fields(self) -> list[str]:
        """The fields without a meaningful relative L2 error at the end of the rollout."""
        fields = self.below_floor["relative_l2"]
        return [field for field in fields if not self.is_meaningful("relative_l2", field, -1)]


class GridResult(Section):
    """The errors on the split `test` of a data set on another grid.

    `cells` is the number of cells along each axis, and `dataset` the identity of the data set.
    """

    cells: list[int]
    dataset: str
    trajectories: int
    headline: Annotated[dict[Predictor, Headline], AfterValidator(_with_all_predictors)]


#: The predictors whose errors on further data sets of a mixture are measured.
SourcePredictor = Literal["surrogate", "persistence", "mean"]


class SourceResult(Section):
    """The errors on the split `test` of a data set after the first of `dataset=[a,b,...]`.

    `dataset` is the identity of the data set in `folder`. `trajectories` counts those with values. The errors
    of `measured` data are over the measured values. `noise` holds the declared standard deviation of the
    noise of each field with noise, relative to the root mean square of the field in the training split: the
    relative L2 error of a perfect prediction.
    """

    folder: str
    dataset: str
    measured: bool
    trajectories: int
    noise: dict[str, float]
    headline: dict[SourcePredictor, Headline]


class Metrics(Section):
    """The results of an evaluation.

    `identity` is a hash of everything that determines the evaluation, and `model` is a hash of model.json.
    `dataset` is the identity of the data set; `time` (T,) holds the times of the frames, s. `worth` is null
    with `evaluation.worth=0`. Its times differ from run to run. `other_grids` has an entry for each data set
    of `evaluation.other_grids`, and `sources` one for each data set after the first. `baselines` holds a
    sentence on each fitted baseline: its fit, or the reason why there is none. `training_speed` has an entry
    for each trained network: one, or the members of an ensemble. `data_errors` holds the error of the data by
    split and field; it is empty where the error is not known. `skipped` holds a sentence for each part of the
    report that does not apply.
    """

    schema_version: Literal[5] = SCHEMA_VERSION
    identity: str
    model: str
    surrogate: str
    dataset: str
    fields: list[str]
    time: list[float]
    definitions: dict[str, str]
    splits: dict[str, SplitResult]
    other_grids: tuple[GridResult, ...] = ()
    sources: tuple[SourceResult, ...] = ()
    worth: WorthResult | None = None
    baselines: dict[str, str] = Field(default_factory=dict)
    training_speed: tuple[TrainingSpeed, ...] = ()
    intervals: IntervalResult | None = None
    confidence: ConfidenceResult | None = None
    attribution: AttributionResult | None = None
    data_errors: dict[str, dict[str, DataError]] = Field(default_factory=dict)
    skipped: dict[str, str] = Field(default_factory=dict)


def objective(metrics: Metrics) -> float:
    """Return the surrogate's median error at the end of the rollout on the first split.

    The error of a diverged rollout is infinity.
    """
    result = next(iter(metrics.splits.values()))
    error = result.headline["surrogate"].rollout_end.median
    return math.inf if error is None else error


def write(path: Path, metrics: Metrics) -> None:
    """Write metrics.json atomically."""
    write_whole(path, metrics.model_dump_json(indent=1, exclude_none=False) + "\n")


def read(path: Path) -> Metrics:
    """Read metrics.json.

    Raises:
        UserError: the file cannot be read, or was written by another release.
    """
    return read_json(path, Metrics, "Type python -m pipeline.evaluate")
