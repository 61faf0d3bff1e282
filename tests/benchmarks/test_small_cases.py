"""The published cases of model collapse agree with their theory and with the published figures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.collapse import small_cases
from benchmarks.collapse.small_cases import POLICIES, Estimate, Regression, geometric_mean

#: The largest distance of a measured value from its theory, in standard errors.
LARGEST_DISTANCE = 4.0
#: Few weights and labels: a wrong count of degrees of freedom changes the errors by several standard errors.
SMALL = Regression(dimension=5, labels=25, noise=0.5)


def distance(estimate: Estimate, theory: np.ndarray | float) -> np.ndarray:
    """Return the distance in standard errors."""
    return np.abs(estimate.value - theory) / estimate.standard_error


@pytest.fixture(scope="module")
def published_size() -> dict[str, np.ndarray]:
    return small_cases.regression_errors(Regression(), small_cases.GENERATIONS, small_cases.PUBLISHED_REPEATS)


@pytest.fixture(scope="module")
def small() -> dict[str, np.ndarray]:
    return small_cases.regression_errors(SMALL, generations=8, repeats=12_000)


@pytest.mark.parametrize("name", POLICIES)
def test_test_errors_of_each_generation_agree_with_the_theory(
    name: str, small: dict[str, np.ndarray], published_size: dict[str, np.ndarray]
) -> None:
    for regression, errors in ((SMALL, small[name]), (Regression(), published_size[name])):
        theory = POLICIES[name].theory(regression, errors.shape[1])
        assert distance(Estimate.of(errors), theory).max() < LARGEST_DISTANCE


def test_measured_errors_exclude_the_theory_of_another_policy(small: dict[str, np.ndarray]) -> None:
    """The measurement resolves the difference between new features and those of the first generation."""
    other = POLICIES["accumulate, same features"].theory(SMALL, 8)
    assert distance(Estimate.of(small["accumulate"]), other)[3:].min() > LARGEST_DISTANCE


@pytest.mark.parametrize("name", small_cases.PUBLISHED)
def test_400_repeats_agree_with_the_published_figures(
    name: str, published_size: dict[str, np.ndarray]
) -> None:
    estimate = Estimate.of(published_size[name])
    # Both figures are means of 400 repeats, so their difference has the standard error sqrt(2) times larger.
    differences = np.abs(estimate.value[[0, -1]] - small_cases.PUBLISHED[name])
    assert (differences < 3 * math.sqrt(2) * estimate.standard_error[[0, -1]]).all()


def test_replacing_grows_linearly_and_accumulating_stays_below_its_bound() -> None:
    first = POLICIES["replace"].theory(Regression(), 1)[0]
    np.testing.assert_allclose(POLICIES["replace"].theory(Regression(), 20), first * np.arange(1, 21))
    for name in ("accumulate", "accumulate, same features"):
        errors = POLICIES[name].theory(Regression(), 10_000)
        assert (np.diff(errors) > 0).all()
        assert errors[-1] < math.pi**2 / 6 * first


def test_a_repeat_does_not_depend_on_the_number_of_repeats() -> None:
    few = small_cases.regression_errors(SMALL, generations=2, repeats=3)
    many = small_cases.regression_errors(SMALL, generations=2, repeats=120)
    for name in POLICIES:
        np.testing.assert_array_equal(few[name], many[name][:3])


def test_variances_of_a_gaussian_agree_with_the_theory() -> None:
    """The geometric mean decays, and the mean of the unbiased variance does not."""
    samples, generations = 11, 12
    unbiased, biased = (
        small_cases.gaussian_variances(samples, generations, 20_000, unbiased=choice)
        for choice in (True, False)
    )
    generation = np.arange(1, generations + 1)
    decay = np.exp(generation * small_cases.log_variance_theory(samples))
    assert distance(geometric_mean(unbiased), decay).max() < LARGEST_DISTANCE
    assert distance(Estimate.of(unbiased), 1.0).max() < LARGEST_DISTANCE
    assert distance(Estimate.of(biased), (1 - 1 / samples) ** generation).max() < LARGEST_DISTANCE
    # The mean of the unbiased variance differs from the published decay by many standard errors.
    assert distance(Estimate.of(unbiased), np.exp(-generation / (samples - 1)))[3:].min() > LARGEST_DISTANCE


@pytest.mark.parametrize("samples", [50, 51, 1000])
def test_log_variance_decays_by_the_published_rate(samples: int) -> None:
    """The expansion -1/k - 1/(3 k^2) for k = M - 1 degrees of freedom; its error is of the order k^-4."""
    degrees = samples - 1
    expansion = -1 / degrees - 1 / (3 * degrees**2)
    assert math.isclose(small_cases.log_variance_theory(samples), expansion, abs_tol=1 / degrees**4)
