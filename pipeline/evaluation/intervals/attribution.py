"""The inputs that one predicted value depends on, by gradients.

Shape letters: B cases, C channels, P points of a path.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.evaluation.cases import Cases, load
from pipeline.evaluation.intervals.fourier_modes import watched_modes
from pipeline.evaluation.intervals.predicted_value import MAX_STEPS, PredictedValue, input_scales
from pipeline.evaluation.intervals.ranks import rank_correlation
from pipeline.evaluation.intervals.result import AttributionResult
from pipeline.evaluation.section import finite_or_none
from surrogates.arrays import as_array

if TYPE_CHECKING:
    from pipeline.data.dataset import Dataset
    from surrogates.contract import Surrogate

#: The largest number of values of states in one evaluation.
_MAX_VALUES = 2**20
#: The points of the path between the baseline and the input; more points if the sum is not complete.
_NUM_POINTS, _MORE_POINTS, _COMPLETE = 16, 64, 0.01
#: The smallest number of inputs whose maps are compared.
_MIN_COMPARED = 8


@dataclass(frozen=True)
class Attribution:
    """The result for metrics.json, and the maps for the picture.

    Attributes:
        result: the numbers.
        inputs: the initial state and the coefficient fields by channel, each (*sites).
        gradients: the derivative of the value with respect to each of them, times the standard deviation.
        shuffled: the same for the copy with shuffled weights.
        integrated: their integrated gradients.
        sensitivities: the derivative of the whole final frame of the channel with respect to each scalar
            parameter, times the standard deviation of the parameter, each (*sites); empty for particles.
        shuffled_sensitivities: the same for the copy; empty if the gradients are compared.
        site: the index of the site of the value.
        mode_shares: the share of the Fourier modes by their size; None for other networks.
    """

    result: AttributionResult
    inputs: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]
    shuffled: dict[str, np.ndarray]
    integrated: dict[str, np.ndarray]
    sensitivities: dict[str, np.ndarray]
    shuffled_sensitivities: dict[str, np.ndarray]
    site: tuple[int, ...]
    mode_shares: np.ndarray | None


def attribute_trajectory(
    surrogate: Surrogate, dataset: Dataset, split: str, position: int
) -> Attribution | str:
    """Return the attribution of a trajectory of a data set, see `attribute`.

    The baseline of particles is the first training trajectory.
    """
    reference = load(dataset, "train", [0]) if dataset.spec.has_particles else None
    return attribute(surrogate, load(dataset, split, [position]), reference)


def attribute(surrogate: Surrogate, cases: Cases, reference: Cases | None = None) -> Attribution | str:
    """Return the attribution of a predicted value of the single trajectory in `cases`.

    The result is the reason why there is none for states that are too large, and for a surrogate without
    gradients.

    The value is that with the largest predicted change since the start, in standard deviations of its
    channel, at most 10 time steps after the start. With the input x and a baseline x', the integrated
    gradient of an input is

        (x - x') ∫₀¹ ∂F/∂x (x' + a (x - x')) da,

    with 16 points of Gauss-Legendre quadrature, or with 64 points if the sum over all inputs differs from
    F(x) - F(x') by more than 1 %. The baseline is the mean of the training data, or the single trajectory in
    `reference`, because particles at their mean position would collide. The sanity check compares the
    absolute gradients with those of a copy whose weights are shuffled within each array.

    Sources: Sundararajan, Taly & Yan 2017, "Axiomatic attribution for deep networks" (arXiv 1703.01365);
    Adebayo et al. 2018, "Sanity checks for saliency maps" (arXiv 1810.03292).
    """
    num_steps = min(MAX_STEPS, len(cases.time) - 1)
    if cases.state[0, 0].size * num_steps > _MAX_VALUES:
        return (
            f"The dependence of a prediction on its inputs is not measured: the states of {num_steps} steps "
            f"have {cases.state[0, 0].size * num_steps:,} values, and at most {_MAX_VALUES:,} are allowed."
        )
    value = PredictedValue.of(surrogate, cases)
    inputs = _inputs(surrogate, cases)
    baseline = _baseline(surrogate) if reference is None else _inputs(surrogate, reference)
    with watched_modes(surrogate) as use:
        gradients = value.gradients(surrogate, inputs)
    if not any(gradient.any() for gradient in gradients.values()):
        return (
            "The dependence of a prediction on its inputs is not measured: the surrogate gives no gradient "
            "with respect to them."
        )
    integrated, completeness = _integrated(value, surrogate, (inputs, baseline), _NUM_POINTS)
    if not completeness <= _COMPLETE:
        integrated, completeness = _integrated(value, surrogate, (inputs, baseline), _MORE_POINTS)
    shuffled = _shuffled(surrogate)
    shuffled_gradients = value.gradients(shuffled, inputs)
    sensitivities = value.sensitivities(surrogate, inputs)
    total = sum(float(values.abs().sum()) for values in integrated.values())
    std = input_scales(surrogate)
    names = [name for name, tensor in inputs.items() if tensor.ndim > 1]
    maps = [
        {name: values[name][0].double().numpy(force=True) * factor[name] for name in names}
        for values, factor in (
            (inputs, dict.fromkeys(names, 1.0)),
            (gradients, std),
            (shuffled_gradients, std),
            (integrated, dict.fromkeys(names, 1.0)),
        )
    ]
    compared = [_sizes(values, std) for values in (gradients, shuffled_gradients)]
    shuffled_sensitivities: dict[str, np.ndarray] = {}
    if np.count_nonzero(compared[0]) < _MIN_COMPARED:
        shuffled_sensitivities = value.sensitivities(shuffled, inputs)
        compared = [_sizes(values) for values in (sensitivities, shuffled_sensitivities)]
    has_dependence = (compared[0] > 0) | (compared[1] > 0)
    correlation = math.nan
    if has_dependence.sum() >= _MIN_COMPARED:
        correlation = rank_correlation(*(values[has_dependence] for values in compared))
    result = AttributionResult(
        trajectory=cases.index[0],
        output=value.name(surrogate.problem.spec),
        time=float(value.times[-1]),
        shares={
            name: float(values.abs().sum()) / total if total else 0.0 for name, values in integrated.items()
        },
        largest_cells=finite_or_none(_largest_tenth(maps[3])),
        completeness_error=finite_or_none(completeness),
        shuffled_correlation=finite_or_none(correlation),
        modes=use.listed(),
    )
    mode_shares = None if use.is_empty else use.by_size()
    return Attribution(
        result=result,
        inputs=maps[0],
        gradients=maps[1],
        shuffled=maps[2],
        integrated=maps[3],
        sensitivities=sensitivities,
        shuffled_sensitivities=shuffled_sensitivities,
        site=value.site,
        mode_shares=mode_shares,
    )


def _integrated(
    value: PredictedValue,
    surrogate: Surrogate,
    ends: tuple[Mapping[str, torch.Tensor], Mapping[str, torch.Tensor]],
    num_points: int,
) -> tuple[dict[str, torch.Tensor], float]:
    """Return the integrated gradients, and the distance of their sum from the change of the value."""
    inputs, baseline = ends
    nodes, node_weights = np.polynomial.legendre.leggauss(num_points)
    like = next(surrogate.parameters())
    shares, weights = torch.from_numpy((nodes + 1) / 2).to(like), torch.from_numpy(node_weights / 2).to(like)
    differences = {name: tensor - baseline[name] for name, tensor in inputs.items()}
    sums = {name: torch.zeros_like(tensor) for name, tensor in inputs.items()}
    num_values = sum(tensor.numel() for tensor in inputs.values())
    chunk = max(1, min(num_points, _MAX_VALUES // max(1, num_values * (len(value.times) - 1))))
    for points, factors in zip(torch.split(shares, chunk), torch.split(weights, chunk), strict=True):
        path = {
            name: baseline[name] + _column(points, difference) * difference
            for name, difference in differences.items()
        }
        for name, gradient in value.gradients(surrogate, path).items():
            sums[name] += (_column(factors, gradient) * gradient).sum(0, keepdim=True)
    integrated = {name: differences[name] * sums[name] for name in inputs}
    both = {name: torch.cat([baseline[name].expand_as(tensor), tensor]) for name, tensor in inputs.items()}
    with torch.no_grad():
        start, end = value.evaluate(surrogate, both).double().tolist()
    total = sum(float(values.double().sum()) for values in integrated.values())
    return integrated, abs(total - (end - start)) / abs(end - start) if end != start else math.nan


def _column(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return values (P,) with as many axes as `like`."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def _inputs(surrogate: Surrogate, cases: Cases) -> dict[str, torch.Tensor]:
    """Return the inputs of the single case by name, each (1, ...)."""
    like, spec = next(surrogate.parameters()), surrogate.problem.spec
    arrays = {f"initial {name}": cases.state[:, 0, index] for index, name in enumerate(spec.channels)}
    arrays |= {name: cases.inputs[name] for name in (*spec.coefficient_channels, *spec.parameter_names)}
    return {name: torch.from_numpy(np.array(array)).to(like) for name, array in arrays.items()}


def _baseline(surrogate: Surrogate) -> dict[str, torch.Tensor]:
    """Return the mean of each input over the training data, as arrays of one value for each site."""
    like, spec, stats = next(surrogate.parameters()), surrogate.problem.spec, surrogate.problem.statistics
    sites = (1, *spec.shape)
    fields = {f"initial {name}": mean for name, mean in zip(spec.channels, stats.mean, strict=True)}
    fields |= dict(zip(spec.coefficient_channels, stats.coefficient_mean, strict=True))
    baseline = {name: like.new_full(sites, mean) for name, mean in fields.items()}
    scalars = zip(spec.parameter_names, stats.parameter_mean, strict=True)
    return baseline | {name: like.new_full((1,), mean) for name, mean in scalars}


def _shuffled(surrogate: Surrogate) -> Surrogate:
    """Return a copy whose weights are permuted at random within each array."""
    result = copy.deepcopy(surrogate)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in result.parameters():
            order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
            weight.copy_(weight.flatten()[order].reshape(weight.shape))
    return result


def _sizes(
    values: Mapping[str, torch.Tensor | np.ndarray], std: Mapping[str, float] | None = None
) -> np.ndarray:
    """Return the absolute values of all arrays in one array, times a factor of each array if given."""
    return np.concatenate(
        [
            np.abs(as_array(array).astype(np.float64).ravel()) * (1.0 if std is None else std[name])
            for name, array in values.items()
        ]
        or [np.empty(0)]
    )


def _largest_tenth(maps: Mapping[str, np.ndarray]) -> float:
    """Return the share of the tenth of the cells with the largest values; NaN for few cells."""
    values = np.sort(np.abs(np.concatenate([array.ravel() for array in maps.values()])))[::-1]
    if len(values) < _MIN_COMPARED or not values.sum() > 0:
        return math.nan
    return float(values[: max(1, len(values) // 10)].sum() / values.sum())
