"""How far the members of an ensemble are apart, beside how far their mean is from the truth.

Shape letters: N trajectories, M members, B of a batch, T frames, C channels, F fields.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import spearmanr

from pipeline.evaluation.metrics import FieldChannels, plain, relative_l2, summary
from surrogates.contract import ExtrapolationWarning
from surrogates.deep_ensemble import Ensemble

if TYPE_CHECKING:
    from pipeline.evaluation.measure import Cases
    from surrogates.contract import Surrogate

DEFINITIONS = {
    "spread": "|s| / |u|, s the standard deviation over an ensemble's members at each site, in the roll-out; "
    "at its end, mean over the fields",
    "spread_over_error": "sqrt((M + 1) / M) times the root mean square of the spread at the end of the "
    "roll-out, over that of the mean's error; 1 if the truth is like one more member, below 1 where the "
    "ensemble is too sure",
    "spread_error_correlation": "Spearman's rank correlation over the trajectories of spread and error, at "
    "the end of the roll-out",
}


def spread(surrogate: Surrogate, cases: Cases, fields: FieldChannels) -> np.ndarray:
    """The relative size of the members' standard deviation in the roll-out, (B, T - 1, F); with F = 0 where
    the surrogate is no ensemble of two members or more.
    """
    truth = cases.state[:, 1:]
    if not isinstance(surrogate, Ensemble) or len(surrogate.members) < 2:
        return np.empty((*truth.shape[:2], 0))
    with warnings.catch_warnings():
        # One of the splits lies outside the training range on purpose.
        warnings.simplefilter("ignore", ExtrapolationWarning)
        prediction = surrogate.predict(cases.state[:, 0], cases.parameters, cases.time)
    assert prediction.standard_deviation is not None
    deviation = prediction.standard_deviation[:, 1:].numpy(force=True)
    return relative_l2(truth + deviation, truth, fields)


def spread_results(spread: np.ndarray, error: np.ndarray, fields: list[str], members: int) -> dict[str, Any]:
    """What `metrics.json` says of the spread of one split, (N, T - 1, F), beside the `error` (N,) of the
    members' mean at the end of the roll-out.

    Source of the ratio: Fortin, Abaza, Anctil & Turcotte 2014, "Why should ensemble spread match the RMSE of
    the ensemble mean?" (doi:10.1175/JHM-D-14-0008.1).
    """
    at_end = spread[:, -1].mean(axis=-1)
    over_trajectories = summary(spread)
    return {
        "members": members,
        "relative_l2": {
            field: {name: plain(value[:, place]) for name, value in over_trajectories.items()}
            for place, field in enumerate(fields)
        },
        "roll_out_end": {name: plain(value) for name, value in summary(at_end).items()},
        "over_error": plain(math.sqrt((members + 1) / members) * _ratio_of_sizes(at_end, error)),
        "error_correlation": plain(_rank_correlation(at_end, error)),
    }


def _ratio_of_sizes(one: np.ndarray, other: np.ndarray) -> float:
    """The ratio of the root mean squares of two arrays; NaN where it is none."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return float(np.sqrt(np.mean(np.square(one)) / np.mean(np.square(other))))


def _rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's coefficient; NaN where all values of either are the same, or there are fewer than three."""
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return math.nan
    return float(spearmanr(one, other).statistic)
