"""The measured errors as plain data (`metrics.json`), and as a verdict in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.evaluation import calibration
from pipeline.evaluation.measure import MODES, PREDICTORS, Measured
from pipeline.evaluation.metrics import METRICS, plain, summary

if TYPE_CHECKING:
    from pipeline.data.dataset import Dataset

DEFINITIONS = {
    "relative_l2": "|p - u| / |u|, norms over the sites and a vector's components; 1 is predicting zero",
    "nrmse": "|p - u| / |u - mean(u)|, the mean over the sites; 1 is predicting the mean of the frame",
    "one_step": "each frame predicted from the true frame before it",
    "roll_out": "all frames predicted from the initial state",
    "persistence": "nothing changes: the true frame before (one step), the initial state (roll-out)",
    "mean": "the training split's mean of each channel, everywhere and always",
    "headline": "relative L2, mean over the fields; one_step is also the mean over the frames",
    "invariants": "what the solver's physics conserves, or changes at a known rate, of whole states in the "
    "roll-out; size is the median over the trajectories of the largest value in the truth, error the "
    "distance between prediction and truth",
    **calibration.DEFINITIONS,
    "null": "not finite: a prediction that diverged, or a truth that is zero or constant",
}


def split_results(measured: Measured, dataset: Dataset) -> dict[str, Any]:
    """All that `metrics.json` says of one split; the data set names fields and invariants."""
    errors = measured.errors
    fields = [field.name for field in dataset.spec.fields]
    table = {
        predictor: {
            mode: {
                metric: {
                    field: {name: plain(value[:, f]) for name, value in over_trajectories.items()}
                    for f, field in enumerate(fields)
                }
                for k, metric in enumerate(METRICS)
                for over_trajectories in [summary(errors[:, p, m, k])]
            }
            for m, mode in enumerate(MODES)
        }
        for p, predictor in enumerate(PREDICTORS)
    }
    by_trajectory = headline_errors(errors)
    found = {
        "trajectories": len(errors),
        "headline": {
            predictor: {
                mode: {name: plain(value) for name, value in summary(by_trajectory[:, p, m]).items()}
                for m, mode in enumerate(("one_step", "roll_out_end"))
            }
            for p, predictor in enumerate(PREDICTORS)
        },
        "by_trajectory": {
            "index": list(measured.index),
            "roll_out_end": plain(by_trajectory[:, 0, 1]),
        },
        "errors": table,
        "invariants": {
            quantity.name: conserved(measured.invariants[..., place])
            for place, quantity in enumerate(dataset.spec.invariants)
        },
    }
    if measured.num_members > 1:
        error = by_trajectory[:, 0, 1]
        found["spread"] = calibration.spread_results(measured.spread, error, fields, measured.num_members)
    return found


def conserved(values: np.ndarray) -> dict[str, Any]:
    """One invariant of truth and prediction, (N, 2, T): how large it is, and how far the two are apart."""
    truth, prediction = values[:, 0], values[:, 1]
    with np.errstate(invalid="ignore"):
        apart = np.abs(prediction - truth)
    apart = np.where(np.isfinite(prediction), apart, np.inf)
    return {
        "size": plain(np.median(np.abs(truth).max(axis=1))),
        "error": {name: plain(value) for name, value in summary(apart).items()},
    }


def headline_errors(errors: np.ndarray) -> np.ndarray:
    """One number a trajectory, (N, predictors, [one step, end of roll-out]): the relative L2 error, mean
    over the fields, at the last frame of the roll-out and on average over all single steps.
    """
    relative = errors[:, :, :, list(METRICS).index("relative_l2")].mean(axis=-1)
    return np.stack([relative[:, :, 0].mean(axis=-1), relative[:, :, 1, -1]], axis=-1)


def verdict(results: dict[str, Any], surrogate: str, split: str) -> str:
    """A sentence with the numbers that decide: the error at the end of the roll-out against the baselines."""
    found, end_time = results["splits"][split], results["time"][-1]
    ours, still, mean = (found["headline"][name]["roll_out_end"]["median"] for name in PREDICTORS)
    where = {"test": "held-out trajectories", "test_extrapolation": "trajectories out of the training range"}
    cases = f"{found['trajectories']} {where.get(split, split)}"
    steps = len(results["time"]) - 1
    if ours is None:
        return (
            f"On {cases}, the roll-out of {surrogate} over {steps} steps diverged in at least half of them."
        )
    sentence = (
        f"On {cases}, the roll-out of {surrogate} over {steps} steps to t = {end_time:.4g} s ends with a "
        f"relative L2 error of {percent(ours)} (median; worst {percent(worst(found))})"
    )
    return (
        f"{sentence}: {against(ours, still)} persistence ({percent(still)}), "
        f"{against(ours, mean)} the training mean ({percent(mean)}).{_spread_in_words(found)}"
    )


def _spread_in_words(found: dict[str, Any]) -> str:
    """A sentence on the spread of an ensemble's members; nothing of one model."""
    if "spread" not in found:
        return ""
    one = found["spread"]
    return (
        f" Its {one['members']} members are {percent(one['roll_out_end']['median'])} apart there (median), "
        f"{number(one['over_error'])} of the error (1 is calibrated), with a rank correlation of "
        f"{number(one['error_correlation'])} to it."
    )


def number(value: float | None) -> str:
    """Three figures, or words for what is not finite."""
    return "not finite" if value is None else f"{value:.3g}"


def worst(found: dict[str, Any]) -> float | None:
    """The surrogate's largest error at the end of a roll-out."""
    largest: float | None = found["headline"]["surrogate"]["roll_out_end"]["max"]
    return largest


def against(ours: float | None, other: float | None) -> str:
    """How `ours` compares with `other`, as words that stand before the other's name."""
    if ours is None or other is None or other == 0:
        return "not comparable with"
    if ours == 0:
        return "infinitely below"
    factor = other / ours
    return f"{factor:.3g} times below" if factor >= 1 else f"{1 / factor:.3g} times above"


def percent(error: float | None) -> str:
    """An error as per cent with three figures, and a space that does not break."""
    if error is None:
        return "not finite"
    share = 100 * error
    return f"{share:.0f}\N{NO-BREAK SPACE}%" if share >= 1000 else f"{share:.3g}\N{NO-BREAK SPACE}%"
