"""The spread of an ensemble's members, compared with the error of their mean.

Shape letters: N trajectories, M members, B trajectories of a batch, T frames, C channels, F fields.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.evaluation.metrics import FieldNorm, relative_l2, summary
from pipeline.evaluation.schema import EnsembleSpread, SeriesSummary, Summary
from pipeline.evaluation.section import finite_or_none

if TYPE_CHECKING:
    import xarray

    from pipeline.evaluation.cases import Cases
    from surrogates.contract import Prediction

DEFINITIONS = {
    "ensemble_spread": "|s| / max(|u|, floor), with s the standard deviation over an ensemble's members at "
    "each site, or the standard deviation that a single model predicts (members 1), in the rollout; at its "
    "end, the mean over the fields",
    "ratio_to_error": "sqrt((M + 1) / M) times the root mean square of the ensemble spread at the end of the "
    "rollout, divided by the root mean square of the error of the members' mean. 1: the spread matches the "
    "error; below 1: the ensemble is overconfident",
    "error_correlation": "Spearman's rank correlation of spread and error over the trajectories, at the end "
    "of the rollout",
}


def ensemble_spread(prediction: Prediction, cases: Cases, fields: Sequence[FieldNorm]) -> np.ndarray | None:
    """Return the relative size of the predicted standard deviation in the rollout, (B, T - 1, F).

    The standard deviation is that of the members, or a single model predicts it. The result is None for other
    models.
    """
    if prediction.standard_deviation is None:
        return None
    truth = cases.state[:, 1:]
    standard_deviation = prediction.standard_deviation[:, 1:].double().numpy(force=True)
    return relative_l2(truth + standard_deviation, truth, fields)


def spread_results(spread: xarray.DataArray, error: np.ndarray, members: int) -> EnsembleSpread:
    """Return the results of a predicted standard deviation on one split.

    A standard deviation that a single model predicts is compared without the factor of finite ensembles.

    Source of the ratio: Fortin, Abaza, Anctil & Turcotte 2014, "Why should ensemble spread match the RMSE of
    the ensemble mean?" (doi:10.1175/JHM-D-14-0008.1).

    Args:
        spread: dimensions trajectory, time, field.
        error: the error of the members' mean at the end of the rollout, (N,).
        members: the number of members.
    """
    spread_at_end = spread.isel(time=-1).mean("field").to_numpy()
    ratio = math.sqrt((members + 1) / members if members > 1 else 1.0) * _ratio_of_sizes(spread_at_end, error)
    return EnsembleSpread(
        members=members,
        relative_l2={
            str(field): SeriesSummary.of(summary(spread.sel(field=field).to_numpy()))
            for field in spread["field"].to_numpy()
        },
        rollout_end=Summary.of(summary(spread_at_end)),
        ratio_to_error=finite_or_none(ratio),
        error_correlation=finite_or_none(_rank_correlation(spread_at_end, error)),
    )


def _ratio_of_sizes(numerator: np.ndarray, denominator: np.ndarray) -> float:
    """Return the ratio of the root mean squares of two arrays; NaN if the ratio is undefined."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return float(np.sqrt(np.mean(np.square(numerator)) / np.mean(np.square(denominator))))


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return Spearman's coefficient; NaN if an array is constant or has fewer than three values."""
    # Imported late, because the import of scipy.stats takes most of a second.
    from scipy.stats import spearmanr

    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    return float(spearmanr(first, second).statistic)
