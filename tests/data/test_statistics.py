"""The statistics of the training split: independent of the shards, and 0 for quantities without variation."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.dataset import Dataset
from pipeline.data.running_statistics import RunningStatistics
from pipeline.problem import problem_of
from simsurrogate.errors import UserError
from surrogates import store
from tests.support import problems
from tests.support.in_process import generate_in_process
from tests.support.trainings.training_cases import generate_dataset

FIXED_ECCENTRICITY = (
    "experiment=two_body",
    "solver.system.eccentricity=[0.3,0.3]",
    "output={steps: 4, duration: 0.5}",
)


def stats_of(folder: Path, *overrides: str) -> str:
    """Return the text of `stats.yaml` of a data set that is generated in this process."""
    return (generate_in_process(folder, *overrides) / "stats.yaml").read_text()


@pytest.mark.parametrize("solver", [FIXED_ECCENTRICITY, ("experiment=smoke",)], ids=["batches", "frames"])
def test_the_shards_have_no_influence_on_the_statistics(solver: tuple[str, ...], tmp_path: Path) -> None:
    texts = [
        stats_of(
            tmp_path / str(per_shard),
            *solver,
            f"samples={{train: 12, valid: 1, test: 1, test_extrapolation: 0, per_shard: {per_shard}}}",
        )
        for per_shard in (4, 12)
    ]
    assert texts[0] == texts[1]


def test_a_fixed_parameter_has_the_standard_deviation_zero(tmp_path: Path) -> None:
    samples = "samples={train: 12, valid: 1, test: 1, test_extrapolation: 0, per_shard: 12}"
    stats = yaml.safe_load(stats_of(tmp_path, *FIXED_ECCENTRICITY, samples))
    assert stats["parameters"]["eccentricity"] == {
        "mean": 0.3,
        "std": 0.0,
        "rms": 0.3,
        "min": 0.3,
        "max": 0.3,
    }


@given(
    value=st.floats(-1e150, 1e150).filter(lambda value: value == 0 or abs(value) > 1e-100),
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=5),
)
@settings(deadline=None, max_examples=50)
def test_equal_values_have_exactly_their_mean_and_no_deviation(value: float, sizes: list[int]) -> None:
    parts = [RunningStatistics.of(np.full((1, size), value)) for size in sizes]
    stats = reduce(add, parts)
    assert (stats.mean[0], stats.std[0], stats.rms[0]) == (value, 0.0, abs(value))


@given(cuts=st.sets(st.integers(1, 29)), offset=st.sampled_from([0.0, 1e8]))
@settings(deadline=None, max_examples=30)
def test_every_division_of_the_trajectories_gives_the_same_statistics(cuts: set[int], offset: float) -> None:
    values = offset + np.random.default_rng(1).standard_normal((2, 30, 7))
    whole = RunningStatistics.of_trajectories(values)
    parts = np.split(values, sorted(cuts), axis=1)
    divided = reduce(add, map(RunningStatistics.of_trajectories, parts))
    assert divided.to_json() == whole.to_json()
    assert RunningStatistics.from_json(whole.to_json()).to_json() == whole.to_json()
    exact_values = [[Fraction(value) for value in channel] for channel in values.reshape(2, -1).tolist()]
    for channel, exact in enumerate(exact_values):
        mean = sum(exact) / len(exact)
        variance = sum((value - mean) ** 2 for value in exact) / len(exact)
        assert whole.mean[channel] == pytest.approx(float(mean), rel=1e-15)
        assert whole.std[channel] == pytest.approx(float(variance) ** 0.5, rel=1e-12)


@given(cuts=st.sets(st.integers(1, 19)))
@settings(deadline=None, max_examples=20)
def test_missing_values_have_no_influence_on_the_statistics(cuts: set[int]) -> None:
    rng = np.random.default_rng(2)
    values = 5 + rng.standard_normal((3, 20, 6))
    values[0, rng.random((20, 6)) < 0.4] = np.nan
    values[1, 4:9] = np.nan
    parts = np.split(values, sorted(cuts), axis=1)
    stats = reduce(add, map(RunningStatistics.of_trajectories, parts))
    assert stats.to_json() == RunningStatistics.of_trajectories(values).to_json()
    assert stats.counts == tuple((~np.isnan(values)).sum(axis=(1, 2)))
    for own, expected in (
        (stats.mean, np.nanmean(values, axis=(1, 2))),
        (stats.std, np.nanstd(values, axis=(1, 2))),
        (stats.rms, np.sqrt(np.nanmean(values**2, axis=(1, 2)))),
        (stats.minimum, np.nanmin(values, axis=(1, 2))),
        (stats.maximum, np.nanmax(values, axis=(1, 2))),
    ):
        assert own == pytest.approx(expected, rel=1e-12)


def test_a_channel_without_any_value_keeps_its_empty_bounds_in_a_receipt() -> None:
    missing = RunningStatistics.of(np.array([[1.0, 2.0], [np.nan, np.nan]]))
    stored = RunningStatistics.from_json(missing.to_json())
    assert stored.counts == (2, 0)
    assert (stored.minimum[1], stored.maximum[1]) == (np.inf, -np.inf)
    both = stored + RunningStatistics.of(np.array([[3.0], [7.0]]))
    assert (both.counts, both.minimum[1], both.mean[1]) == ((3, 1), 7, 7)


def test_values_with_infinite_squares_are_refused() -> None:
    with pytest.raises(UserError, match="the values reach 2e\\+200, and their squares exceed"):
        RunningStatistics.of(np.array([[1e200, 2e200]]))


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_constant_coefficient_field_has_no_deviation(precision: str, tmp_path: Path) -> None:
    folder = generate_dataset(
        tmp_path,
        f"storage.precision={precision}",
        "solver.diffusivity={kind: constant, range: [0.3, 0.3]}",
    )
    statistics = problem_of(Dataset.open(folder)).statistics
    assert set(statistics.coefficient_std) <= {0.0}
    assert set(statistics.parameter_std) & {0.0}


def test_training_and_evaluation_see_the_same_parameters(tmp_path: Path) -> None:
    dataset = Dataset.open(generate_dataset(tmp_path))
    windows = dataset.windows("train", 3)
    batch = windows.take(np.arange(len(windows)))
    positions, starts = windows.locate(np.arange(len(windows)))
    for row, (position, start) in enumerate(zip(positions, starts, strict=True)):
        trajectory = dataset.trajectory("train", int(position))
        assert batch["parameters"][row].tolist() == list(trajectory.parameters.values())
        assert batch["time"][row].tolist() == trajectory.time[start : start + 3].tolist()


@pytest.mark.parametrize("name", ["fno", "mlp", "hamiltonian"])
def test_a_deviation_below_the_round_off_of_the_weights_has_no_effect(name: str) -> None:
    problem = problems.learnable_problem(name)
    narrow = dataclasses.replace(problem.statistics, parameter_std=(1e-9,), parameter_mean=(2.0,))
    zero = dataclasses.replace(problem.statistics, parameter_std=(0.0,), parameter_mean=(2.0,))
    losses = []
    for statistics in (narrow, zero):
        torch.manual_seed(0)
        changed_problem = dataclasses.replace(problem, statistics=statistics)
        surrogate = store.build(name, problems.options(name), changed_problem, "float32")
        batch = problems.batch(problem, size=2, dtype=torch.float32, num_random=surrogate.num_random)
        losses.append([loss.item() for loss in surrogate(batch).values()])
    assert losses[0] == losses[1]


def test_a_steady_field_changes_by_its_own_scale() -> None:
    problem = problems.learnable_problem("fno")
    num_channels = len(problem.spec.channels)
    steady = dataclasses.replace(problem.statistics, delta_std=(0.0,) * num_channels)
    surrogate = store.build(
        "fno", problems.options("fno"), dataclasses.replace(problem, statistics=steady), "float64"
    )
    assert surrogate.delta_scale.tolist() == [1.0] * num_channels
