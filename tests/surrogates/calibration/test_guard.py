"""Alarms for unusual inputs, and expected errors, for data whose distribution is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pipeline.evaluation.intervals.ranks import rank_correlation
from surrogates.calibration import ErrorModel, Guard, Inputs
from tests.support import problems


def test_the_rate_of_false_alarms_is_the_stated_rate_and_distant_inputs_raise_alarms() -> None:
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(12, 12))
    rates, detected = [], []
    for _ in range(60):
        training, held_out, usual = (rng.normal(size=(size, 12)) @ mixing for size in (200, 19, 50))
        guard = Guard.of(training, held_out)
        assert guard is not None
        assert guard.alarm_rate == pytest.approx(1 / 20)
        rates.append(np.mean(guard.distances(usual) > guard.threshold))
        detected.append(np.mean(guard.distances(usual + 8 * training.std(0)) > guard.threshold))
    # The rate varies by 0.06 between sets of 19 held-out inputs, so its mean by 0.008.
    assert np.mean(rates) == pytest.approx(1 / 20, abs=0.025)
    assert np.mean(detected) > 0.99


def test_inputs_without_variation_have_no_guard() -> None:
    assert Guard.of(np.ones((5, 3)), np.ones((4, 3))) is None
    assert Guard.of(np.empty((5, 0)), np.empty((4, 0))) is None
    training = np.random.default_rng(1).normal(size=(50, 3)) * [1, 0, 1]
    guard = Guard.of(training, training)
    assert guard is not None
    np.testing.assert_allclose(guard.distances(training + np.array([0, 100, 0])), guard.distances(training))


@pytest.mark.parametrize(
    "problem", [problems.grid_problem((16, 17), ("periodic",) * 2), problems.particle_problem()]
)
def test_features_see_the_spectrum_of_fields_and_the_distances_of_particles(problem) -> None:
    batch = problems.batch(problem, 3)
    parameters = problems.parameters_by_name(problem, batch)
    state = batch["state"][:, 0].double().numpy()
    inputs = Inputs(problem.spec, problem.statistics.std, state, parameters, uses_initial_state=True)
    features = inputs.features
    assert features.shape[0] == 3
    assert np.isfinite(features).all()
    shuffled = np.random.default_rng(0).permuted(np.sort(state, axis=-1), axis=-1)
    others = dataclasses.replace(inputs, initial_state=shuffled).features
    assert not np.allclose(others, features)
    unused = dataclasses.replace(inputs, uses_initial_state=False)
    assert unused.features.shape[1] < features.shape[1]
    np.testing.assert_array_equal(
        dataclasses.replace(unused, initial_state=shuffled).features, unused.features
    )


def test_smooth_and_rough_fields_with_equal_values_have_other_features() -> None:
    problem = problems.grid_problem((16,), ("periodic",))
    smooth = np.sort(np.random.default_rng(0).normal(size=(1, 2, 16)), axis=-1)
    rough = np.random.default_rng(1).permuted(smooth, axis=-1)
    parameters = {"power": 2.0, "conductivity": np.ones(16)}
    features = [
        Inputs(problem.spec, problem.statistics.std, state, parameters, uses_initial_state=True).features
        for state in (smooth, rough)
    ]
    is_equal = np.isclose(*features)[0]
    # The power, four moments of each channel and of the coefficient field agree, and spectra differ.
    assert is_equal.sum() >= 1 + 4 * 2 + 4
    assert not is_equal.all()


def test_the_expected_error_follows_the_predictors_and_stays_bounded() -> None:
    rng = np.random.default_rng(0)
    lead_times = np.array([0.5, 1.0])
    predictors = rng.normal(size=(40, 2, 6))
    errors = np.exp(0.8 * predictors[:, :, 1] - 3 + 0.2 * rng.normal(size=(40, 2)))
    model = ErrorModel.of(lead_times, predictors, errors)
    assert model is not None
    new = rng.normal(size=(200, 1, 6))
    expected = model.errors(np.array([1.0]), new)[:, 0]
    truth = np.exp(0.8 * new[:, 0, 1] - 3)
    assert rank_correlation(expected, truth) > 0.9
    assert np.median(np.abs(np.log(expected / truth))) < 0.3
    assert model.errors(np.array([0.0]), new).max() == 0
    assert model.errors(np.array([1.0]), 1e6 * new).max() <= 10 * errors[:, 1].max() * (1 + 1e-9)
    assert ErrorModel.of(lead_times, predictors[:9], errors[:9]) is None


def test_unrelated_predictors_are_ignored() -> None:
    rng = np.random.default_rng(1)
    errors = np.exp(rng.normal(size=(20, 1)))
    model = ErrorModel.of(np.array([1.0]), rng.normal(size=(20, 1, 30)), errors)
    assert model is not None
    expected = np.log(model.errors(np.array([1.0]), rng.normal(size=(100, 1, 30))))
    assert expected.std() < 0.7 * np.log(errors).std()


def test_the_rank_correlation_is_that_of_scipy() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(2)
    first = rng.integers(0, 5, size=30).astype(float)
    second = first + rng.normal(size=30)
    assert rank_correlation(first, second) == pytest.approx(spearmanr(first, second).statistic, abs=1e-12)
    assert np.isnan(rank_correlation(np.ones(5), np.arange(5.0)))
    assert np.isnan(rank_correlation(np.array([1.0, np.nan, 2.0]), np.arange(3.0)))
