"""Prediction intervals by split-conformal calibration.

Shape letters: B cases, T frames after the first, D requested times, C channels, L levels, N calibration
trajectories; `*sites` as in the contract.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch

from simsurrogate.errors import UserError

#: `marginal`: each value is in its interval with the asked probability. `joint`: all values of the trajectory
#: are in their intervals at once with this probability.
IntervalKind = Literal["marginal", "joint"]
#: The probabilities of intervals. An asked probability is rounded up to one of them.
LEVELS = np.arange(1, 200) / 200
#: The weight, in degrees of freedom, of the residual scale next to the spread of an ensemble.
_PRIOR_FREEDOM = 4.0


@dataclass(frozen=True)
class Intervals:
    """The scores of calibration trajectories, and the intervals that follow from these scores.

    The score of a value is its absolute residual in units of a scale σ, z = |u − û| / σ. Without an ensemble,
    σ is the `scale`, the smoothed mean absolute residual on other held-out trajectories. With an ensemble of
    M members of standard deviation s, σ is a moderated deviation, because s of few members is often near 0
    (Smyth 2004, doi:10.2202/1544-6115.1027, eq. for s̃², with 4 prior degrees of freedom):

        σ² = ((M - 1) (a s)² + 4 scale²) / (M + 3),    a = `spread_factor`, mean residual over mean spread

    A single model's own standard deviation counts like the spread of 5 members. The interval is û ± q σ.

    - marginal: q is the quantile of the scores of all cells and trajectories at one frame and channel, with
      the weight 1/(N + 1) for each trajectory and 1/(N + 1) at infinity. For a new trajectory that is
      exchangeable with the calibration trajectories, and a cell drawn at random, the value lies in its
      interval with at least the asked probability, at each calibrated frame. The probability is over
      trajectories and cells: it holds neither at each fixed cell nor given the inputs. Source: Lee, Barber &
      Willett 2023, "Distribution-free inference with hierarchical data" (arXiv 2306.06342); for a single cell
      the split-conformal prediction of Lei et al. 2018 (arXiv 1604.04173).
    - joint: q is the ⌈(N + 1) level⌉-th smallest of the largest scores of the trajectories, over all cells,
      channels and frames. A whole new trajectory lies in its band with at least the asked probability.
      Source: Diquigiovanni, Fontana & Vantini 2022 (doi:10.1016/j.jmva.2021.104879, arXiv 2106.01792).

    Errors that grow over the rollout do not violate the assumption, because a frame is compared with the same
    frame of other trajectories. Trajectories from another distribution violate it, and have no guarantee.
    Nothing is known beyond the last calibrated frame. Between two frames, σ and q are linear in time.

    Attributes:
        lead_times: the durations after the start of the frames after the first (T,), s, in float64.
        scale: the residual scale σ, (T, C, *sites).
        spread_factor: (T, C).
        marginal: the quantile of each level, frame and channel, (L, T, C); infinite where N is too small.
        joint: the largest score of each calibration trajectory in increasing order, (N,).
    """

    lead_times: torch.Tensor
    scale: torch.Tensor
    spread_factor: torch.Tensor
    marginal: torch.Tensor
    joint: torch.Tensor

    @property
    def num_trajectories(self) -> int:
        """The number of calibration trajectories."""
        return len(self.joint)

    def check(self, level: float, kind: str) -> None:
        """Check that intervals of a probability and a kind exist.

        Raises:
            UserError: the probability or the kind is not allowed, or the calibration split is too small.
        """
        if kind not in get_args(IntervalKind):
            raise UserError(
                f"interval_kind={kind!r} does not exist. Allowed are "
                f'{" and ".join(map(repr, get_args(IntervalKind)))}. Pass interval_kind="marginal".'
            )
        if not 0 < level <= LEVELS[-1]:
            raise UserError(
                f"interval={level} is not the probability of an interval. Probabilities above 0 and up to "
                f"{LEVELS[-1]:g} are allowed. Pass interval=0.9."
            )
        if (needed := trajectories_needed(_rounded_up(level))) > self.num_trajectories:
            share = self.num_trajectories / (self.num_trajectories + 1)
            allowed = max(LEVELS[share + 1e-9 >= LEVELS], default=0.0)
            raise UserError(
                f"interval={level:g} needs at least {needed} calibration trajectories, and the calibration "
                f"split has {self.num_trajectories}. With these, up to interval={allowed:g} is allowed. "
                f"Type python -m pipeline.generate samples.calibration={needed}, then validate and "
                "evaluate."
            )

    def half_widths(
        self,
        durations: np.ndarray,
        level: float,
        kind: IntervalKind,
        standard_deviation: torch.Tensor | None = None,
        num_members: int = 1,
    ) -> torch.Tensor:
        """Return half the width of the intervals, (1 or B, D, C, *sites); 0 at duration 0.

        Args:
            durations: the durations after the start (D,), s.
            level: the probability.
            kind: see `IntervalKind`.
            standard_deviation: that of the prediction (B, D, C, *sites); None for a single model.
            num_members: the number of members of the ensemble.

        Raises:
            UserError: a duration exceeds that of the calibration trajectories; see also `check`.
        """
        self.check(level, kind)
        sigma = self.sigma(durations, standard_deviation, num_members)
        if kind == "joint":
            rank = math.ceil((self.num_trajectories + 1) * _rounded_up(level) - 1e-9)
            quantile = self.joint[rank - 1]
            half_width = quantile.to(sigma) * sigma
        else:
            index = int(np.searchsorted(LEVELS, level - 1e-9))
            quantile = self._at(self.marginal[index], durations).to(sigma)
            half_width = quantile.reshape(*quantile.shape, *[1] * (sigma.ndim - 3)) * sigma
        # The product of an infinite quantile and a scale of 0 is NaN.
        half_width = torch.nan_to_num(half_width, nan=math.inf, posinf=math.inf)
        half_width[:, torch.from_numpy(durations <= 0)] = 0.0
        return half_width

    def sigma(
        self, durations: np.ndarray, standard_deviation: torch.Tensor | None, num_members: int
    ) -> torch.Tensor:
        """Return the scale σ of the scores, (1 or B, D, C, *sites), see the class and `half_widths`."""
        scale = self._at(self.scale, durations)[None]
        if standard_deviation is None:
            return scale
        scale = scale.to(standard_deviation)
        factor = self._at(self.spread_factor, durations).to(scale)
        spread = factor.reshape(*factor.shape, *[1] * (scale.ndim - 3)) * standard_deviation
        freedom = num_members - 1 if num_members > 1 else _PRIOR_FREEDOM
        return ((freedom * spread**2 + _PRIOR_FREEDOM * scale**2) / (freedom + _PRIOR_FREEDOM)).sqrt()

    def _at(self, values: torch.Tensor, durations: np.ndarray) -> torch.Tensor:
        """Return values (T, ...) at durations (D,), linear between the frames, and 0 at duration 0."""
        lead_times = np.concatenate([[0.0], self.lead_times.numpy(force=True)])
        last = lead_times[-1]
        if len(durations) and durations[-1] > last * (1 + 1e-6):
            raise UserError(
                f"The time {durations[-1]:g} s after the start is beyond the calibration trajectories. "
                f"Durations up to {last:g} s have intervals. Pass earlier times, or leave out interval."
            )
        position = np.interp(durations, lead_times, np.arange(len(lead_times)))
        # A multiple of the time step differs from the time of its frame by round-off.
        position = np.where(np.abs(position - position.round()) < 1e-6, position.round(), position)
        lower = np.floor(position).astype(int)
        padded = torch.cat([torch.zeros_like(values[:1]), values])
        result = padded[torch.from_numpy(lower)]
        if (fraction := position - lower).any():
            upper = padded[torch.from_numpy(np.minimum(lower + 1, len(values)))]
            weight = torch.from_numpy(fraction).to(values).reshape(-1, *[1] * (values.ndim - 1))
            result = torch.lerp(result, upper, weight)
        return result


def _rounded_up(level: float) -> float:
    """Return the smallest of `LEVELS` that is at least `level`."""
    return float(LEVELS[np.searchsorted(LEVELS, level - 1e-9)])


def trajectories_needed(level: float) -> int:
    """Return the smallest number of calibration trajectories for a probability, ⌈level / (1 - level)⌉."""
    return math.ceil(level / (1 - level) - 1e-9)


def hierarchical_quantiles(scores: np.ndarray) -> np.ndarray:
    """Return the marginal quantiles (L, T, C) of scores (N, T, C, S) of S cells, see `Intervals`.

    The quantile of a level is the smallest score below or at which lie level (N + 1) S of the N S scores.
    """
    num_trajectories, num_frames, num_channels, num_cells = scores.shape
    pooled = np.sort(scores.transpose(1, 2, 0, 3).reshape(num_frames, num_channels, -1), axis=-1)
    ranks = np.ceil(LEVELS * (num_trajectories + 1) * num_cells - 1e-6).astype(int)
    has_quantile = ranks <= pooled.shape[-1]
    quantiles = np.full((len(LEVELS), num_frames, num_channels), np.inf, dtype=np.float32)
    quantiles[has_quantile] = np.moveaxis(pooled[..., ranks[has_quantile] - 1], -1, 0)
    return quantiles
