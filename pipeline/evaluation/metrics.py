"""How far a prediction is from the truth, by trajectory, frame and field, and over trajectories.

Shape letters: B trajectories, T frames, C channels of the state, F fields; a field has one channel,
or one an axis where it is a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

#: Channels of each field, e.g. `((0,), (1, 2))` for a scalar and a vector of two components.
FieldChannels = Sequence[Sequence[int]]

QUANTILES = {"q10": 0.1, "q90": 0.9}

# Below this share of the field's own size, float32 data cannot tell a variation from rounding.
_ROUNDING = 1e-7


def relative_l2(prediction: np.ndarray, truth: np.ndarray, fields: FieldChannels) -> np.ndarray:
    """The relative L² error ‖p − u‖ / ‖u‖ of each field at each frame.

    ‖·‖² sums over the sites, and over a vector's components. 0 is exact, 1 is the error of predicting
    zero. It is the FNO paper's error (arXiv:2010.08895) and PDEBench's nRMSE
    (arXiv:2210.07182), per trajectory and frame.

    Args:
        prediction: (B, T, C, *sites), of any floating type; the sums are float64.
        truth: the same shape.
        fields: the channels of each field.

    Returns:
        (B, T, F); inf where the prediction is not finite, or where the truth is zero and the
        prediction is not.
    """
    return _by_frame(_relative_l2, prediction, truth, fields)


def nrmse(prediction: np.ndarray, truth: np.ndarray, fields: FieldChannels) -> np.ndarray:
    """The normalised root-mean-square error ‖p − u‖ / ‖u − ū‖ of each field at each frame.

    ū is the mean of each component over the sites. 0 is exact, 1 is the error of predicting the mean of
    the frame; unlike `relative_l2` it does not change when a constant (the zero of a temperature scale)
    is added to both. It is The Well's NRMSE with `norm_mode="std"`, named VRMSE in its paper
    (arXiv:2412.00568), without the ε that makes it depend on units.

    Args and returns as `relative_l2`; a truth that varies by less than 1e-7 of its size is constant:
    there the error is 0 where the prediction is exact, inf elsewhere.
    """
    return _by_frame(_nrmse, prediction, truth, fields)


METRICS: dict[str, Callable[[np.ndarray, np.ndarray, FieldChannels], np.ndarray]] = {
    "relative_l2": relative_l2,
    "nrmse": nrmse,
}


def summary(errors: np.ndarray) -> dict[str, np.ndarray]:
    """Median, mean, quantiles and largest value over the trajectories, the first axis.

    Infinite errors stay infinite: a trajectory that diverged is counted, not dropped.
    """
    with np.errstate(invalid="ignore"):
        found = {"median": np.median(errors, axis=0), "mean": np.mean(errors, axis=0)}
        found |= {name: np.quantile(errors, share, axis=0) for name, share in QUANTILES.items()}
    found["max"] = np.max(errors, axis=0)
    # Between two infinite errors numpy interpolates to NaN.
    return {name: np.where(np.isnan(value), np.inf, value) for name, value in found.items()}


def plain(values: Any) -> Any:
    """Numbers and nested lists for JSON; None for what is not finite."""
    array = np.asarray(values)
    if array.ndim == 0:
        return float(array) if np.isfinite(array) else None
    return [plain(value) for value in array]


def _by_frame(
    metric: Callable[[np.ndarray, np.ndarray], np.ndarray],
    prediction: np.ndarray,
    truth: np.ndarray,
    fields: FieldChannels,
) -> np.ndarray:
    """Frame by frame, so that the float64 copies stay small."""
    num_trajectories, num_frames = truth.shape[:2]
    errors = np.empty((num_trajectories, num_frames, len(fields)))
    for frame in range(num_frames):
        for number, channels in enumerate(fields):
            chosen = list(channels)
            # (B, components, sites)
            shape = (num_trajectories, len(chosen), -1)
            predicted = np.ascontiguousarray(prediction[:, frame, chosen], np.float64).reshape(shape)
            true = np.ascontiguousarray(truth[:, frame, chosen], np.float64).reshape(shape)
            errors[:, frame, number] = metric(predicted, true)
    return errors


def _relative_l2(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return _ratio(_norm(prediction - truth), _norm(truth))


def _nrmse(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    variation = _norm(truth - truth.mean(axis=2, keepdims=True))
    return _ratio(_norm(prediction - truth), np.where(variation > _ROUNDING * _norm(truth), variation, 0.0))


def _norm(values: np.ndarray) -> np.ndarray:
    """The Euclidean norm over components and sites, (B,), safe from overflow and underflow of squares."""
    largest = np.abs(values).max(axis=(1, 2), initial=0.0)
    scale = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
    with np.errstate(invalid="ignore", over="ignore"):
        norm: np.ndarray = scale * np.sqrt(np.square(values / scale[:, None, None]).sum(axis=(1, 2)))
    return norm


def _ratio(error: np.ndarray, size: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.where(error == 0, 0.0, error / size)
    return np.where(np.isnan(ratio), np.inf, ratio)
