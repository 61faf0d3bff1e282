"""Scores of predicted distributions: CRPS, spread and skill.

Shape letters: M members; `...` is any shape of numbers that are predicted.
"""

from __future__ import annotations

import math

import numpy as np


def ensemble_crps(members: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the fair CRPS of an ensemble (M, ...) at each number of the truth (...).

        CRPS = 1/M Σ_i |x_i − y| − 1/(2 M (M − 1)) Σ_ij |x_i − x_j|

    The expectation is that of an infinite ensemble, so ensembles of different sizes compare fairly. The
    score has the unit of the truth, smaller is better. The absolute error is the CRPS of a single value.

    Raises:
        ValueError: there are fewer than two members.

    Source: Ferro 2014 (doi:10.1002/qj.2270), equation 9. The double sum is computed from the sorted members.
    """
    count = len(members)
    if count < 2:
        raise ValueError(f"the fair CRPS needs at least two members, not {count}")
    error = np.abs(members - truth).mean(axis=0)
    weights = 2 * np.arange(count) - (count - 1.0)
    # Σ_ij |x_i − x_j| = 2 Σ_i (2 i − M + 1) x_(i) with the members x_(i) in increasing order.
    pairs = np.tensordot(weights, np.sort(members, axis=0), axes=1)
    result: np.ndarray = error - pairs / (count * (count - 1))
    return result


def gaussian_crps(mean: np.ndarray, standard_deviation: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the CRPS of normal distributions at each number of the truth (...).

        CRPS = σ (z (2 Φ(z) − 1) + 2 φ(z) − 1/√π),    z = (y − μ) / σ

    With σ = 0 it is the absolute error.

    Source: Gneiting & Raftery 2007 (doi:10.1198/016214506000001437), equation 21 with the opposite sign.
    """
    from scipy.special import erf

    error = truth - mean
    has_spread = standard_deviation > 0
    z = error / np.where(has_spread, standard_deviation, 1.0)
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    score = standard_deviation * (z * erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))
    result: np.ndarray = np.where(has_spread, score, np.abs(error))
    return result


def spread_skill_ratio(spread: np.ndarray, skill: np.ndarray, members: int) -> np.ndarray:
    """Return sqrt((M + 1) / M) spread / skill, which is 1 for a calibrated ensemble; NaN for no error.

    `spread` is the root mean square of the standard deviation (with M − 1), `skill` the RMSE of the mean. The
    standard deviation that a single model predicts (`members` 1) has no factor.

    Source: Fortin et al. 2014 (doi:10.1175/JHM-D-14-0008.1), equation 15.
    """
    factor = math.sqrt((members + 1) / members) if members > 1 else 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        return factor * np.where(skill > 0, spread / skill, np.nan)
