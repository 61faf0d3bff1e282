"""The worth of a surrogate as a section of metrics.json: speed-up at equal error, and break-even."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from pipeline.evaluation.metrics import CLOSE_ERROR
from pipeline.evaluation.section import Section, finite_or_none

if TYPE_CHECKING:
    from pipeline.evaluation.worth import Worth


class SettingResult(Section):
    """A setting of the solver: medians over the trajectories of time (s) and relative L2 error at the end.

    `batch_seconds` is the time of a trajectory in a batch. Null stands for a trajectory that diverged.
    """

    name: str
    seconds: float | None
    batch_seconds: float | None
    error: float | None


class SurrogateResult(Section):
    """The surrogate: times (s) of a trajectory, and the median error at the end of the rollout.

    `batch_size` is the number of trajectories in the fastest batch. `compiled` says whether the predictions
    were compiled; then the first query includes the compilation.
    """

    compiled: bool = False
    first_query_seconds: float
    query_seconds: float
    batch_size: int
    batch_seconds: float
    error: float | None


class SpeedUp(Section):
    """The solver's time at equal error over the surrogate's time: statistics over the trajectories."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: np.ndarray) -> Self:
        """Return the statistics of the values of all trajectories."""
        return cls(median=float(np.median(values)), min=float(values.min()), max=float(values.max()))


class BreakEven(Section):
    """The time (s) of generation and training on all cores, and the number of queries that repays it.

    A query saves the difference of the median times of the solver at equal error and of the surrogate. The
    number is null if a query saves nothing: the time is never repaid.
    """

    generation_seconds: float
    training_seconds: float
    queries: float | None


class WorthResult(Section):
    """The worth of a surrogate on `trajectories` (indices in the data set) of the split `test`.

    All times are those of one thread of `processor`. `solver_seconds` is the median time of the cheapest
    setting that is at least as accurate as the surrogate; the error of `reference` counts as 0. Errors below
    that of the data's own setting, the first one, and up to 11 % above it, count as equal. `num_requested`
    and `frames` are the options of the measurement.
    """

    processor: str
    num_requested: int
    frames: Literal["all", "last"]
    trajectories: list[int]
    reference: str
    settings: list[SettingResult]
    surrogate: SurrogateResult
    solver_seconds: float
    speed_up: SpeedUp
    batch_speed_up: SpeedUp
    break_even: BreakEven


def worth_result(
    worth: Worth, processor: str, generation_seconds: float, training_seconds: float
) -> WorthResult:
    """Return the results of the measurements; the costs are those of the data set and of the model, s."""
    surrogate = worth.surrogate
    seconds = np.array([setting.seconds for setting in worth.settings])
    batch_seconds = np.array([[setting.batch_seconds] for setting in worth.settings])
    errors = np.array([setting.errors for setting in worth.settings])
    # A surrogate is not more accurate than the solver's setting that made its data, the first one.
    surrogate_errors = np.where(np.isnan(surrogate.errors), np.inf, surrogate.errors)
    own_errors = np.where(np.isfinite(errors[0]), errors[0], 0.0)
    allowed_errors = np.maximum(surrogate_errors, own_errors / CLOSE_ERROR)
    equal_seconds = _cheapest(seconds, errors, allowed_errors)
    equal_batch_seconds = _cheapest(np.broadcast_to(batch_seconds, errors.shape), errors, allowed_errors)
    solver_seconds = float(np.median(equal_seconds))
    saving = solver_seconds - surrogate.query_seconds
    return WorthResult(
        processor=processor,
        num_requested=worth.num_requested,
        frames=worth.frames,
        trajectories=list(worth.index),
        reference=worth.reference,
        settings=[
            SettingResult(
                name=setting.name,
                seconds=finite_or_none(float(np.median(setting.seconds))),
                batch_seconds=finite_or_none(setting.batch_seconds),
                error=finite_or_none(float(np.median(setting.errors))),
            )
            for setting in worth.settings
        ],
        surrogate=SurrogateResult(
            compiled=surrogate.compiled,
            first_query_seconds=surrogate.first_query_seconds,
            query_seconds=surrogate.query_seconds,
            batch_size=surrogate.batch_size,
            batch_seconds=surrogate.batch_seconds,
            error=finite_or_none(float(np.median(surrogate.errors))),
        ),
        solver_seconds=solver_seconds,
        speed_up=SpeedUp.of(equal_seconds / surrogate.query_seconds),
        batch_speed_up=SpeedUp.of(equal_batch_seconds / surrogate.batch_seconds),
        break_even=BreakEven(
            generation_seconds=generation_seconds,
            training_seconds=training_seconds,
            queries=(generation_seconds + training_seconds) / saving if saving > 0 else None,
        ),
    )


def _cheapest(seconds: np.ndarray, errors: np.ndarray, allowed_errors: np.ndarray) -> np.ndarray:
    """Return the time (B,) of the cheapest setting with at most the allowed error of each trajectory (B,).

    `seconds` and `errors` have the shape (S, B). The reference, with the error 0, is one of the settings.
    """
    is_accurate = errors <= allowed_errors
    cheapest: np.ndarray = np.min(np.where(is_accurate, seconds, np.inf), axis=0)
    return cheapest
