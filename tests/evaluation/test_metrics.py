"""Promise: the metrics mean what their definitions say, for any data."""

import json

import numpy as np
import pytest
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.evaluation import baselines
from pipeline.evaluation.metrics import METRICS, nrmse, relative_l2, summary
from pipeline.evaluation.results import headline_errors
from pipeline.evaluation.schema import MODES, PREDICTORS, SeriesSummary

SCALAR_AND_VECTOR = ((0,), (1, 2))
shapes = st.tuples(st.integers(1, 3), st.integers(1, 3), st.just(3), st.integers(2, 5), st.integers(1, 4))
values = st.floats(-1e6, 1e6, allow_subnormal=False).filter(lambda value: value == 0 or abs(value) > 1e-6)
states = shapes.flatmap(lambda shape: arrays.arrays(np.float64, shape, elements=values))
quick = settings(max_examples=60, deadline=None)


@quick
@given(states)
@pytest.mark.parametrize("metric", METRICS.values())
def test_an_exact_prediction_has_no_error(metric, truth):
    errors = metric(truth, truth, SCALAR_AND_VECTOR)
    assert errors.shape == (*truth.shape[:2], 2)
    assert (errors == 0).all()


@quick
@given(states)
def test_zero_is_wrong_by_one_in_relative_l2(truth):
    errors = relative_l2(np.zeros_like(truth), truth, ((0,),))[..., 0]
    is_zero = (truth[:, :, 0] == 0).all(axis=(2, 3))
    np.testing.assert_allclose(errors, np.where(is_zero, 0.0, 1.0), rtol=1e-14)


@quick
@given(states)
def test_the_frame_mean_is_wrong_by_one_in_nrmse(truth):
    mean = np.broadcast_to(truth.mean(axis=(3, 4), keepdims=True), truth.shape)
    errors = nrmse(mean, truth, SCALAR_AND_VECTOR)
    varies = np.stack(
        [
            np.linalg.norm((truth - mean)[:, :, channels].reshape(*truth.shape[:2], -1), axis=-1)
            > 2e-7 * np.linalg.norm(truth[:, :, channels].reshape(*truth.shape[:2], -1), axis=-1)
            for channels in SCALAR_AND_VECTOR
        ],
        axis=-1,
    )
    np.testing.assert_allclose(errors[varies], 1.0, rtol=1e-9)


@quick
@given(states, st.floats(1e-200, 1e200), st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("metric", METRICS.values())
def test_units_do_not_matter(metric, truth, factor, seed):
    prediction = truth + np.random.default_rng(seed).normal(size=truth.shape)
    np.testing.assert_allclose(
        metric(factor * prediction, factor * truth, SCALAR_AND_VECTOR),
        metric(prediction, truth, SCALAR_AND_VECTOR),
        rtol=1e-6,
    )


@quick
@given(st.integers(0, 2**32 - 1), st.floats(-1e3, 1e3))
def test_nrmse_does_not_see_the_zero_of_the_scale(seed, offset):
    truth, prediction = np.random.default_rng(seed).normal(size=(2, 2, 3, 3, 8))
    np.testing.assert_allclose(
        nrmse(prediction + offset, truth + offset, SCALAR_AND_VECTOR),
        nrmse(prediction, truth, SCALAR_AND_VECTOR),
        rtol=1e-9,
    )


@quick
@given(st.integers(0, 2**32 - 1))
def test_trajectories_do_not_see_each_other(seed):
    truth, prediction = np.random.default_rng(seed).normal(size=(2, 5, 3, 3, 8)).astype(np.float32)
    for metric in METRICS.values():
        together = metric(prediction, truth, SCALAR_AND_VECTOR)
        apart = [metric(prediction[i : i + 1], truth[i : i + 1], SCALAR_AND_VECTOR)[0] for i in range(5)]
        np.testing.assert_array_equal(together, apart)


def test_a_known_value():
    truth = np.array([3.0, 4.0, 0.0, 0.0]).reshape(1, 1, 1, 4)
    prediction = np.array([3.0, 4.0, 0.0, 1.0]).reshape(1, 1, 1, 4)
    assert relative_l2(prediction, truth, ((0,),)).item() == pytest.approx(1 / 5)
    # The squares about the mean 7/4 sum to 25 - 4 (7/4)² = 12.75.
    assert nrmse(prediction, truth, ((0,),)).item() == pytest.approx(1 / np.sqrt(12.75))


def test_a_vector_is_one_field():
    truth = np.array([3.0, 4.0]).reshape(1, 1, 2, 1)
    prediction = np.array([3.0, 5.0]).reshape(1, 1, 2, 1)
    assert relative_l2(prediction, truth, ((0, 1),)).item() == pytest.approx(1 / 5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_diverged_prediction_is_infinitely_wrong(bad):
    truth = np.ones((2, 1, 1, 4)) + np.arange(4)
    prediction = truth.copy()
    prediction[1, 0, 0, 2] = bad
    for metric in METRICS.values():
        assert metric(prediction, truth, ((0,),)).ravel().tolist() == [0.0, np.inf]


def test_a_constant_truth_in_float32_has_no_nrmse():
    truth = np.full((1, 1, 1, 1000), 293.15, dtype=np.float32)
    assert nrmse(truth, truth, ((0,),)).item() == 0
    assert nrmse(truth + np.float32(0.1), truth, ((0,),)).item() == np.inf


def test_diverged_trajectories_are_counted_and_not_dropped():
    errors = np.array([0.1, 0.2, np.inf, np.inf, np.inf])[:, None]
    found = summary(errors)
    assert found["median"].item() == np.inf
    assert found["max"].item() == np.inf
    assert found["q10"].item() == pytest.approx(0.14)
    assert json.loads(SeriesSummary.of(found).model_dump_json())["median"] == [None]


def test_baselines_predict_what_they_say():
    state = np.random.default_rng(0).normal(size=(2, 5, 3, 4))
    still = baselines.persistence(state[:, 0], 4)
    assert still.shape == (2, 4, 3, 4)
    assert all((still[:, frame] == state[:, 0]).all() for frame in range(4))
    mean = baselines.training_mean(np.array([1.0, 2.0, 3.0]), state)
    assert mean.shape == state.shape
    assert (mean[:, :, 1] == 2.0).all()


def test_the_headline_is_the_last_frame_and_the_mean_step():
    errors = xarray.DataArray(
        np.zeros((1, 3, 2, 2, 2, 2)),
        dims=("trajectory", "predictor", "mode", "metric", "time", "field"),
        coords={"predictor": list(PREDICTORS), "mode": list(MODES), "metric": list(METRICS)},
    )
    ours = errors.loc[{"predictor": "surrogate", "metric": "relative_l2"}][0]
    ours.loc[{"mode": "rollout"}] = [[0.1, 0.3], [0.2, 0.6]]
    ours.loc[{"mode": "one_step"}] = [[0.1, 0.3], [0.4, 0.8]]
    headline = headline_errors(errors).sel(predictor="surrogate")
    np.testing.assert_allclose(headline.sel(mode=list(MODES)), [[0.4, 0.4]])


def test_the_relative_l2_of_a_vector_does_not_change_with_the_axes():
    truth, prediction = np.random.default_rng(0).normal(size=(2, 3, 4, 2, 7))
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    turned = [np.einsum("ij,btjx->btix", turn, states) for states in (prediction, truth)]
    np.testing.assert_allclose(
        relative_l2(*turned, ((0, 1),)), relative_l2(prediction, truth, ((0, 1),)), rtol=1e-13
    )
