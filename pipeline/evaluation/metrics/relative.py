"""The relative errors of predictions by trajectory, frame and field, and their summaries over trajectories.

Shape letters: B trajectories, T frames, C channels of the state, F fields; a scalar field has one channel, a
vector field one for each component.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simsurrogate.relative_l2 import norm_floor
from simsurrogate.relative_l2 import relative_l2 as _relative_l2

if TYPE_CHECKING:
    from simsurrogate.spec import Spec
    from surrogates.training_range import Statistics

#: Errors of settings of a solver that differ by less than this factor count as equal.
CLOSE_ERROR = 0.9


@dataclass(frozen=True)
class FieldNorm:
    """The channels of a field, one or one for each component, and the floor of its norm.

    A smaller norm counts as the floor, see `simsurrogate.relative_l2`.
    """

    channels: tuple[int, ...]
    floor: float


QUANTILES = {"q10": 0.1, "q90": 0.9}

# Below this share of the field's own size, float32 data cannot distinguish a variation from rounding.
_RELATIVE_ROUNDING = 1e-7


def field_norms(spec: Spec, statistics: Statistics) -> list[FieldNorm]:
    """Return the norm of each field of a problem, with a floor from the statistics of the training split."""
    return [
        FieldNorm(
            channels, norm_floor([statistics.std[channel] for channel in channels], math.prod(spec.shape))
        )
        for channels in spec.field_channels
    ]


def relative_l2(prediction: np.ndarray, truth: np.ndarray, fields: Sequence[FieldNorm]) -> np.ndarray:
    """Return the relative L2 error of each field at each frame, see `simsurrogate.relative_l2`.

    Args:
        prediction: (B, T, C, *sites), of any floating type; the sums are float64.
        truth: the same shape.
        fields: the channels of each field and the floor of its norm.

    Returns:
        (B, T, F); inf where the prediction is not finite, or where truth and floor are zero and the
        prediction is not.
    """
    return _by_frame(_relative_error, truth, fields, prediction)


def vrmse(prediction: np.ndarray, truth: np.ndarray, fields: Sequence[FieldNorm]) -> np.ndarray:
    """Return the variance-scaled RMSE of each field and frame: ‖p − u‖ / max(‖u − ū‖, floor).

    ū is the mean of each component over the sites. An exact prediction has the error 0, the mean of the
    frame has the error 1. Unlike `relative_l2` the error does not change when a constant (the zero of a
    temperature scale) is added to prediction and truth.

    Source: the VRMSE of The Well (arXiv:2412.00568, section 3), with the floor of `relative_l2` in place of
    the ε = 1e-7 that makes the VRMSE depend on units. The package of The Well divides by the variance with
    Bessel's correction: its value is sqrt((N - 1) / N) times this error for N sites.

    The arguments and the result have the shapes of those of `relative_l2`. A truth that varies by less than
    1e-7 of its size is constant.
    """
    return _by_frame(_normalised_error, truth, fields, prediction)


METRICS: dict[str, Callable[[np.ndarray, np.ndarray, Sequence[FieldNorm]], np.ndarray]] = {
    "relative_l2": relative_l2,
    "vrmse": vrmse,
}


def below_floor(truth: np.ndarray, fields: Sequence[FieldNorm]) -> np.ndarray:
    """Return for each metric whether the norm of the truth is below its floor, bool (B, T, M, F)."""
    return np.stack([_by_frame(size, truth, fields) for size in (_is_small, _varies_little)], axis=2) > 0


def summary(errors: np.ndarray) -> dict[str, np.ndarray]:
    """Return median, mean, quantiles and largest value over the trajectories, the first axis.

    Infinite errors stay infinite: a trajectory that diverged is counted, not dropped.
    """
    with np.errstate(invalid="ignore"):
        statistics = {"median": np.median(errors, axis=0), "mean": np.mean(errors, axis=0)}
        statistics |= {name: np.quantile(errors, share, axis=0) for name, share in QUANTILES.items()}
    statistics["max"] = np.max(errors, axis=0)
    # Between two infinite errors numpy interpolates to NaN.
    return {name: np.where(np.isnan(values), np.inf, values) for name, values in statistics.items()}


def _by_frame(
    function: Callable[..., np.ndarray], truth: np.ndarray, fields: Sequence[FieldNorm], *others: np.ndarray
) -> np.ndarray:
    """Return the values of a function of a floor, the truth and other states, by frame and field (B, T, F).

    The function receives one field of one frame at a time, so that the float64 copies stay small.
    """
    num_trajectories, num_frames = truth.shape[:2]
    results = np.empty((num_trajectories, num_frames, len(fields)))
    for frame in range(num_frames):
        for index, field in enumerate(fields):
            # (B, components, sites)
            shape = (num_trajectories, len(field.channels), -1)
            values = [
                np.ascontiguousarray(states[:, frame, list(field.channels)], np.float64).reshape(shape)
                for states in (truth, *others)
            ]
            results[:, frame, index] = function(field.floor, *values)
    return results


def _relative_error(floor: float, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = _relative_l2(prediction, truth, _norm, floor)
    return _zero_where_exact(prediction, truth, ratio)


def _normalised_error(floor: float, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = _norm(prediction - truth) / np.maximum(_variation(truth), floor)
    return _zero_where_exact(prediction, truth, ratio)


def _is_small(floor: float, truth: np.ndarray) -> np.ndarray:
    return _norm(truth) < floor


def _varies_little(floor: float, truth: np.ndarray) -> np.ndarray:
    return _variation(truth) < floor


def _variation(truth: np.ndarray) -> np.ndarray:
    """Return the norm of the truth minus its mean over the sites, (B,); 0 for a rounded constant."""
    variation = _norm(truth - truth.mean(axis=2, keepdims=True))
    return np.where(variation > _RELATIVE_ROUNDING * _norm(truth), variation, 0.0)


def _zero_where_exact(prediction: np.ndarray, truth: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """Return the ratio with 0 where the prediction is exact, and inf in place of other NaNs."""
    is_exact = (prediction == truth).all(axis=(1, 2))
    return np.where(is_exact, 0.0, np.where(np.isnan(ratio), np.inf, ratio))


def _norm(values: np.ndarray) -> np.ndarray:
    """Return the Euclidean norm over components and sites, (B,), safe from overflow and underflow."""
    largest_value = np.abs(values).max(axis=(1, 2), initial=0.0)
    scale = np.where((largest_value > 0) & np.isfinite(largest_value), largest_value, 1.0)
    with np.errstate(invalid="ignore", over="ignore"):
        norm: np.ndarray = scale * np.sqrt(np.square(values / scale[:, None, None]).sum(axis=(1, 2)))
    return norm
