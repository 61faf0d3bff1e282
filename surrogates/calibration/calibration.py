"""The calibration of a trained surrogate by held-out trajectories of a data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from simsurrogate.errors import UserError
from surrogates.calibration.error_model import ErrorModel, error_predictors
from surrogates.calibration.features import Inputs
from surrogates.calibration.guard import Guard
from surrogates.calibration.intervals import IntervalKind, Intervals
from surrogates.calibration.quantities import frame_quantities, reduced_states
from surrogates.prediction import Prediction, QuantityPrediction


@dataclass(frozen=True)
class Calibration:
    """The calibration of a surrogate by held-out trajectories of a data set.

    Attributes:
        dataset: the identity of the data set.
        intervals: the intervals of the fields; None if the data set has no calibration split.
        quantities: the intervals of the quantities of interest that follow from single frames; None without
            such quantities or without a calibration split.
        guard: the distance of inputs from the training data; None if nothing varies between the inputs.
        error_model: the expected error; None if there are too few held-out trajectories.
        fitted_on: the number of trajectories of each split that the calibration was fitted on.
    """

    dataset: str
    intervals: Intervals | None = None
    quantities: Intervals | None = None
    guard: Guard | None = None
    error_model: ErrorModel | None = None
    fitted_on: Mapping[str, int] = field(default_factory=dict)

    def unusual(self, inputs: Inputs) -> Iterator[str]:
        """Yield a message if inputs are farther from the training data than the threshold of the guard."""
        if self.guard is None:
            return
        distances = self.guard.distances(inputs.features)
        above = distances > self.guard.threshold
        if above.any():
            yield (
                f"case {above.argmax()} has the distance {distances[above.argmax()]:.3g} from the training "
                f"inputs, above {self.guard.threshold:.3g} as at most {100 * self.guard.alarm_rate:.2g} % of "
                f"usual inputs ({above.sum()} of {len(above)} cases are unusual)"
            )

    def with_expected_error(self, prediction: Prediction, inputs: Inputs, times: Any) -> Prediction:
        """Return the prediction with the expected error at its times (T,), s, if an `error_model` exists."""
        if self.error_model is None:
            return prediction
        times = np.asarray(times, dtype=np.float64)
        predictors = error_predictors(prediction, inputs, self.guard)
        errors = self.error_model.errors(times - times[0], predictors)
        return dataclasses.replace(prediction, predicted_error=torch.from_numpy(errors))

    def with_intervals(
        self, prediction: Prediction, inputs: Inputs, times: Any, level: float, kind: IntervalKind
    ) -> Prediction:
        """Return the prediction with intervals and quantities of interest.

        Args:
            prediction: the prediction.
            inputs: its inputs.
            times: its times (T,), s.
            level: the probability of the intervals.
            kind: see `IntervalKind`.

        Raises:
            UserError: the data set has no calibration split, or a split too small for the probability; or a
                time is beyond the calibration trajectories.
        """
        if self.intervals is None:
            raise UserError(
                f"interval={level} needs a calibration split, and the data set of the evaluation has none. "
                "A surrogate has intervals after an evaluation with calibration trajectories. Type python -m "
                "pipeline.generate samples.calibration=40, then validate and evaluate."
            )
        times = np.asarray(times, dtype=np.float64)
        durations = times - times[0]
        members = 1 if prediction.members is None else len(prediction.members)
        half_width = self.intervals.half_widths(
            durations, level, kind, prediction.standard_deviation, members
        ).to(prediction.mean)
        quantities = {}
        if self.quantities is not None:
            values = reduced_states(inputs.spec, prediction.mean)
            half = self.quantities.half_widths(durations, level, kind).to(values)
            quantities = {
                quantity.name: QuantityPrediction(
                    values[..., index], (values - half)[..., index], (values + half)[..., index]
                )
                for index, quantity in enumerate(frame_quantities(inputs.spec))
            }
        return dataclasses.replace(
            prediction,
            lower=prediction.mean - half_width,
            upper=prediction.mean + half_width,
            quantities=quantities,
        )
