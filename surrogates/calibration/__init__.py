"""The calibration of a surrogate by held-out trajectories: intervals, unusual inputs and expected errors."""

from surrogates.calibration.calibration import Calibration
from surrogates.calibration.error_model import ErrorModel
from surrogates.calibration.features import Inputs
from surrogates.calibration.guard import Guard
from surrogates.calibration.intervals import IntervalKind, Intervals

__all__ = ["Calibration", "ErrorModel", "Guard", "Inputs", "IntervalKind", "Intervals"]
