"""The filling of the box of scalar parameters, and the claim of `test_extrapolation` to lie outside.

The discrepancy of n points is the centred L2 discrepancy CD, the root mean square difference between the
share of points in a box at a corner of the unit cube and the volume of this box (Hickernell 1998, "A
generalized discrepancy and quadrature error bound", doi:10.1090/S0025-5718-98-00894-1, equation 5.1c).
For independent uniform points, its expected square is ((5/4)^d - (13/12)^d) / n.

Shape letters: N trajectories, P scalar parameters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pipeline.data.checks.result import CheckResult
from pipeline.data.checks.trajectories.naming import name_of
from pipeline.data.checks.trajectories.row_table import RowTable
from pipeline.data.plan import SPLITS
from simsurrogate.spec import Parameter

#: The trajectories whose discrepancy is computed, at most.
_MAX_POINTS = 1024
#: The expected number of false alarms for independent uniform parameters.
_FALSE_ALARMS = 1e-3
#: The least empty part of a range for a warning.
_LEAST_GAP = 0.25
#: The least correlation for a warning: the parameters are nearly one parameter.
_LEAST_CORRELATION = 0.95
_MIN_POINTS = 8
#: The least distance of an extrapolation to the training range, divided by the width of the range.
_LEAST_DISTANCE = 0.01


def centred_discrepancy(points: np.ndarray) -> float:
    """Return the centred L2 discrepancy of points (N, P) in the unit cube.

    CD² = (13/12)^P - 2/N Σ_i Π_j (1 + |z_ij|/2 - z_ij²/2)
          + 1/N² Σ_ik Π_j (1 + |z_ij|/2 + |z_kj|/2 - |x_ij - x_kj|/2),    z = x - 1/2
    """
    centred = np.abs(points - 0.5)
    num_points, dimension = points.shape
    single = np.prod(1 + centred / 2 - centred**2 / 2, axis=1).sum()
    pairs = np.ones((num_points, num_points))
    for column in range(dimension):
        values, distance = points[:, column], centred[:, column]
        pairs *= 1 + (distance[:, None] + distance - np.abs(values[:, None] - values)) / 2
    squared = (13 / 12) ** dimension - 2 / num_points * single + pairs.sum() / num_points**2
    return math.sqrt(max(float(squared), 0.0))


def expected_discrepancy(num_points: int, dimension: int) -> float:
    """Return the root of the expected square of CD for independent uniform points."""
    return math.sqrt(((5 / 4) ** dimension - (13 / 12) ** dimension) / num_points)


def unit_points(parameters: Sequence[Parameter], values: np.ndarray) -> np.ndarray:
    """Return the values (N, P) of parameters with a range in the unit cube, (N, P)."""
    columns = [
        (values[:, column] - parameter.low) / (parameter.high - parameter.low)
        for column, parameter in enumerate(parameters)
        if parameter.high > parameter.low
    ]
    return np.clip(np.array(columns).reshape(-1, len(values)).T, 0.0, 1.0)


def results(subject: str, table: RowTable, parameters: Sequence[Parameter]) -> list[CheckResult]:
    """Return the results of `parameter_box` and `extrapolation`."""
    return [_box(subject, table, parameters), _extrapolation(subject, table, parameters)]


def _box(subject: str, table: RowTable, parameters: Sequence[Parameter]) -> CheckResult:
    """Return how the training trajectories fill the box of the parameters."""
    values = table.parameters[table.split == SPLITS.index("train")]
    ranged = [parameter for parameter in parameters if parameter.high > parameter.low]
    if not ranged:
        return CheckResult("parameter_box", subject, "not applicable", "no scalar parameter has a range")
    if len(values) < _MIN_POINTS:
        reason = f"{len(values)} training trajectories are too few to fill a box: {_MIN_POINTS} are needed"
        return CheckResult("parameter_box", subject, "not applicable", reason)
    points = unit_points(parameters, values)
    some = points[np.random.Generator(np.random.Philox(0)).permutation(len(points))[:_MAX_POINTS]]
    discrepancy, dimension = centred_discrepancy(some), points.shape[1]
    correlation, pair = _largest_correlation(points)
    numbers = {
        "trajectories": float(len(points)),
        "parameters": float(dimension),
        "discrepancy": discrepancy,
        "discrepancy_of_random_points": expected_discrepancy(len(some), dimension),
        "largest_correlation": correlation,
    }
    columns = [column for column, parameter in enumerate(parameters) if parameter in ranged]
    gaps = [
        (*_gap(values[:, column], parameter), parameter)
        for column, parameter in zip(columns, ranged, strict=True)
    ]
    width, start, parameter = max(gaps, key=lambda gap: gap[0])
    numbers["widest_gap"] = width
    chance = len(ranged) * (len(points) + 1) * (1 - width) ** len(points)
    if width >= _LEAST_GAP and chance <= _FALSE_ALARMS:
        end = start + width * (parameter.high - parameter.low)
        message = (
            f"no training value of {parameter.name} lies between {start:.3g} and {end:.3g} {parameter.unit}, "
            f"{100 * width:.0f} % of its range. Training should fill the whole range. Narrow the range, or "
            "draw trajectories there"
        )
        return CheckResult("parameter_box", subject, "warning", message, numbers)
    if abs(correlation) >= _LEAST_CORRELATION:
        first, second = (ranged[column].name for column in pair)
        message = (
            f"{first} and {second} have the correlation {correlation:.3f}, so a model cannot learn their "
            "single effects. Draw the parameters independently"
        )
        return CheckResult("parameter_box", subject, "warning", message, numbers)
    return CheckResult("parameter_box", subject, "passed", numbers=numbers)


def _gap(values: np.ndarray, parameter: Parameter) -> tuple[float, float]:
    """Return the widest part of a range without a value, as a share of the range, and its start.

    A positive range is also measured by its logarithm, and the smaller share counts: the values may be drawn
    uniformly on either scale.
    """
    low, high = parameter.low, parameter.high
    inside = np.concatenate([[low], np.sort(np.clip(values, low, high)), [high]])
    steps = np.diff(inside)
    position = int(np.argmax(steps))
    share = float(steps[position]) / (high - low)
    if low > 0:
        share = min(share, float(np.diff(np.log(inside)).max()) / math.log(high / low))
    return share, float(inside[position])


def _largest_correlation(points: np.ndarray) -> tuple[float, tuple[int, int]]:
    """Return the largest rank correlation (Spearman) of two parameters, and their columns."""
    ranks = points.argsort(axis=0).argsort(axis=0).astype(np.float64)
    ranks -= ranks.mean(axis=0)
    covariance = ranks.T @ ranks
    scale = np.sqrt(np.outer(covariance.diagonal(), covariance.diagonal()))
    correlations = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)
    np.fill_diagonal(correlations, 0.0)
    position = int(np.argmax(np.abs(correlations)))
    row, column = np.unravel_index(position, correlations.shape)
    return float(correlations[row, column]), (int(row), int(column))


def _extrapolation(subject: str, table: RowTable, parameters: Sequence[Parameter]) -> CheckResult:
    """Return whether each trajectory of `test_extrapolation` lies clearly outside the training range."""
    is_outside = table.split == SPLITS.index("test_extrapolation")
    if not is_outside.any():
        return CheckResult("extrapolation", subject, "not applicable", "there is no split test_extrapolation")
    low = np.array([parameter.low for parameter in parameters])
    high = np.array([parameter.high for parameter in parameters])
    values, index = table.parameters[is_outside], table.index[is_outside]
    width = np.maximum(high - low, np.abs(high) / 10)
    distance = np.maximum(low - values, values - high) / np.where(width > 0, width, 1.0)
    largest = distance.max(axis=1)
    is_inside = largest < _LEAST_DISTANCE
    numbers = {
        "trajectories": float(len(values)),
        "inside": float(is_inside.sum()),
        "median_distance": float(np.median(largest)),
        "least_distance": float(largest.min()),
    }
    if not is_inside.any():
        return CheckResult("extrapolation", subject, "passed", numbers=numbers)
    row = int(np.argmin(largest))
    name = parameters[int(np.argmax(distance[row]))].name
    message = (
        f"{name_of(index[row])} lies within {100 * _LEAST_DISTANCE:g} % of the training range in every "
        f"scalar parameter: {name} is the farthest, {100 * largest[row]:.2g} % of the range beyond it "
        f"(trajectories: {int(is_inside.sum())} of {len(values)}). Each trajectory of test_extrapolation "
        "has to lie outside in at least one. Move these trajectories to test"
    )
    return CheckResult("extrapolation", subject, "failed", message, numbers)
