"""The sections of metrics.json on the metrics of fields, spectra, horizons and predicted distributions."""

from __future__ import annotations

from typing import Literal

from pipeline.evaluation.metrics.frame_metrics import FrameMetric
from pipeline.evaluation.section import Section, SeriesSummary, Summary

#: The surrogate and the baselines by name, and `truth` where a metric has a value for the data.
Source = str


class FieldMetricResult(Section):
    """One metric of one field.

    `surrogate` holds the surrogate's series at each frame after the first, by mode. `rollout_end` holds the
    value at the end of the rollout, of the surrogate and the baselines.
    """

    unit: str
    surrogate: dict[Literal["one_step", "rollout"], SeriesSummary]
    rollout_end: dict[Source, Summary]


#: The results by metric and field.
FieldMetricResults = dict[FrameMetric, dict[str, FieldMetricResult]]


class SpectrumResult(Section):
    """The spectrum of one field at the end of the rollout, see `pipeline.evaluation.metrics.spectrum`.

    `wave_number` (S,) is in rad per `length_unit`. `energy` (S,) is the mean over the trajectories of the
    field's mean square in each shell, of the truth, the surrogate and the baselines. `ratio` holds statistics
    over the trajectories of the surrogate's energy over that of the truth in each shell.
    """

    wave_number: list[float]
    length_unit: str
    energy: dict[Source, list[float | None]]
    ratio: SeriesSummary


class HorizonTime(Section):
    """The time (s) until which the rollouts of one predictor are useful.

    The time of a rollout that is useful to the end counts as the end. `complete` is the number of these
    rollouts: if it is at least half of all, the median is a lower bound.
    """

    time: Summary
    complete: int


class LyapunovResult(Section):
    """The solver's largest Lyapunov exponents (1/s) over the data's duration, of the first trajectories.

    `time` (s) is the inverse of their median; null if the median is not positive. `horizon` holds the median
    horizon in Lyapunov times.
    """

    trajectories: int
    exponent: Summary
    time: float | None
    horizon: dict[Source, float | None]


class HorizonResult(Section):
    """The horizon of the rollouts by predictor.

    A rollout on a grid is useful while its `correlation` with the truth, mean over the fields, is at least
    `level`. A rollout of particles is useful while its `position_error` in sizes of the system is at most
    `level`.
    """

    criterion: Literal["correlation", "position_error"]
    level: float
    times: dict[Source, HorizonTime]
    lyapunov: LyapunovResult | None = None


class ProbabilityResult(Section):
    """The predicted distributions of one field in the rollout, at each frame after the first.

    `crps` holds the continuous ranked probability score, mean over sites and components, in the unit of the
    field, and `absolute_error` the mean |mean − truth|, the CRPS of the mean alone. `spread` is the root mean
    square of the standard deviation, and `skill` the RMSE of the mean, both over sites, components and
    trajectories. `ratio` is 1 for a calibrated prediction, see
    `pipeline.evaluation.metrics.probability.spread_skill_ratio`.
    """

    unit: str
    kind: Literal["ensemble", "normal"]
    crps: SeriesSummary
    absolute_error: SeriesSummary
    spread: list[float | None]
    skill: list[float | None]
    ratio: list[float | None]


class SeedResult(Section):
    """The median headline error at the end of the rollout of each member, trained with another seed.

    `mean` and `standard_deviation` are taken over the members.
    """

    rollout_end: list[float | None]
    mean: float | None
    standard_deviation: float | None
