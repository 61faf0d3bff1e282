"""The result of `Surrogate.predict`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class QuantityPrediction:
    """A quantity of interest of predicted states: the value and the ends of its interval, each (B, T)."""

    mean: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor


@dataclass(frozen=True)
class Prediction:
    """Predicted states in physical units.

    Attributes:
        mean: the predicted states, (B, T, C, *sites).
        standard_deviation: the standard deviation over the members of an ensemble in float64, of the same
            shape; None for a single model and for an ensemble of one member.
        members: the states predicted by each member of an ensemble, (M, B, T, C, *sites); None for a single
            model.
        lower: the lower end of the interval of each value, of the shape of `mean`; None without `interval`.
        upper: the upper end.
        predicted_error: the expected relative L2 error of each frame, mean over the fields, (B, T), and NaN
            beyond the last calibrated frame; None without `interval` and `strict`, without a calibration, and
            if too few held-out trajectories were available to learn it.
        quantities: the quantities of interest of the data that follow from single frames, by name, with the
            same kind of interval; empty without `interval`.
    """

    mean: torch.Tensor
    standard_deviation: torch.Tensor | None = None
    members: torch.Tensor | None = None
    lower: torch.Tensor | None = None
    upper: torch.Tensor | None = None
    predicted_error: torch.Tensor | None = None
    quantities: Mapping[str, QuantityPrediction] = field(default_factory=dict)

    def __repr__(self) -> str:
        batch, frames, channels, *sites = self.mean.shape
        size = f"{frames} frames, {channels} channels, {'x'.join(map(str, sites))} sites"
        members = "a single model" if self.members is None else f"{len(self.members)} members"
        intervals = "" if self.lower is None else ", with intervals"
        return f"Prediction of {batch} trajectories by {members}: {size}{intervals}"
