"""The errors of predictions by trajectory, frame and field, and their summaries over trajectories.

Shape letters: B trajectories, T frames, C channels of the state, F fields; a scalar field has one channel, a
vector field one for each component.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from simsurrogate.relative_l2 import relative_l2 as _relative_l2

#: The channels of each field, e.g. `((0,), (1, 2))` for a scalar and a vector of two components.
FieldChannels = Sequence[Sequence[int]]

QUANTILES = {"q10": 0.1, "q90": 0.9}

# Below this share of the field's own size, float32 data cannot distinguish a variation from rounding.
_RELATIVE_ROUNDING = 1e-7


def relative_l2(prediction: np.ndarray, truth: np.ndarray, fields: FieldChannels) -> np.ndarray:
    """Return the relative L2 error of each field at each frame, see `simsurrogate.relative_l2`.

    Args:
        prediction: (B, T, C, *sites), of any floating type; the sums are float64.
        truth: the same shape.
        fields: the channels of each field.

    Returns:
        (B, T, F); inf where the prediction is not finite, or where the truth is zero and the prediction is
        not.
    """
    return _errors_by_frame(_relative_errors, prediction, truth, fields)


def nrmse(prediction: np.ndarray, truth: np.ndarray, fields: FieldChannels) -> np.ndarray:
    """Return the normalised root-mean-square error ‖p − u‖ / ‖u − ū‖ of each field at each frame.

    ū is the mean of each component over the sites. An exact prediction has the error 0, the mean of the
    frame has the error 1. Unlike `relative_l2` the error does not change when a constant (the zero of a
    temperature scale) is added to prediction and truth. This error is The Well's NRMSE with
    `norm_mode="std"`, named VRMSE in its paper (arXiv:2412.00568), without the ε that makes NRMSE depend on
    units.

    The arguments and the result have the shapes of those of `relative_l2`. A truth that varies by less than
    1e-7 of its size is constant: the error is 0 where the prediction is exact and inf elsewhere.
    """
    return _errors_by_frame(_normalised_errors, prediction, truth, fields)


METRICS: dict[str, Callable[[np.ndarray, np.ndarray, FieldChannels], np.ndarray]] = {
    "relative_l2": relative_l2,
    "nrmse": nrmse,
}


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


def _errors_by_frame(
    metric: Callable[[np.ndarray, np.ndarray], np.ndarray],
    prediction: np.ndarray,
    truth: np.ndarray,
    fields: FieldChannels,
) -> np.ndarray:
    """Apply the metric frame by frame, so that the float64 copies stay small."""
    num_trajectories, num_frames = truth.shape[:2]
    errors = np.empty((num_trajectories, num_frames, len(fields)))
    for frame in range(num_frames):
        for index, channels in enumerate(map(list, fields)):
            # (B, components, sites)
            shape = (num_trajectories, len(channels), -1)
            predicted_values = np.ascontiguousarray(prediction[:, frame, channels], np.float64).reshape(shape)
            true_values = np.ascontiguousarray(truth[:, frame, channels], np.float64).reshape(shape)
            errors[:, frame, index] = metric(predicted_values, true_values)
    return errors


def _relative_errors(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = _relative_l2(prediction, truth, _norm, 0.0)
    return _zero_where_exact(prediction, truth, ratio)


def _normalised_errors(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    variation = _norm(truth - truth.mean(axis=2, keepdims=True))
    variation = np.where(variation > _RELATIVE_ROUNDING * _norm(truth), variation, 0.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = _norm(prediction - truth) / variation
    return _zero_where_exact(prediction, truth, ratio)


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
