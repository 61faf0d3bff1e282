"""Metrics, checked against their definitions on random data."""

import json

import numpy as np
import pytest
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.evaluation.baselines import untrained
from pipeline.evaluation.metrics import METRICS, FieldNorm, below_floor, relative_l2, summary, vrmse
from pipeline.evaluation.results import headline_errors
from pipeline.evaluation.schema import MODES, PREDICTORS, SeriesSummary

SCALAR = (FieldNorm((0,), 0.0),)
VECTOR = (FieldNorm((0, 1), 0.0),)
SCALAR_AND_VECTOR = (*SCALAR, FieldNorm((1, 2), 0.0))
shapes = st.tuples(st.integers(1, 3), st.integers(1, 3), st.just(3), st.integers(2, 5), st.integers(1, 4))
values = st.floats(-1e6, 1e6, allow_subnormal=False).filter(lambda value: value == 0 or abs(value) > 1e-6)
states = shapes.flatmap(lambda shape: arrays.arrays(np.float64, shape, elements=values))
few_examples = settings(max_examples=60, deadline=None)


@few_examples
@given(states)
@pytest.mark.parametrize("metric", METRICS.values())
def test_an_exact_prediction_has_no_error(metric, truth):
    errors = metric(truth, truth, SCALAR_AND_VECTOR)
    assert errors.shape == (*truth.shape[:2], 2)
    assert (errors == 0).all()


@few_examples
@given(states)
def test_the_relative_l2_of_a_prediction_of_zero_is_one(truth):
    errors = relative_l2(np.zeros_like(truth), truth, SCALAR)[..., 0]
    is_zero = (truth[:, :, 0] == 0).all(axis=(2, 3))
    np.testing.assert_allclose(errors, np.where(is_zero, 0.0, 1.0), rtol=1e-14)


@few_examples
@given(states)
def test_the_vrmse_of_the_mean_of_a_frame_is_one(truth):
    frame_mean = np.broadcast_to(truth.mean(axis=(3, 4), keepdims=True), truth.shape)
    errors = vrmse(frame_mean, truth, SCALAR_AND_VECTOR)
    is_varying = np.stack(
        [
            np.linalg.norm((truth - frame_mean)[:, :, channels].reshape(*truth.shape[:2], -1), axis=-1)
            > 2e-7 * np.linalg.norm(truth[:, :, channels].reshape(*truth.shape[:2], -1), axis=-1)
            for channels in ((0,), (1, 2))
        ],
        axis=-1,
    )
    np.testing.assert_allclose(errors[is_varying], 1.0, rtol=1e-9)


@few_examples
@given(states, st.floats(1e-200, 1e200), st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("metric", METRICS.values())
def test_metrics_do_not_depend_on_the_units(metric, truth, factor, seed):
    prediction = truth + np.random.default_rng(seed).normal(size=truth.shape)
    np.testing.assert_allclose(
        metric(factor * prediction, factor * truth, SCALAR_AND_VECTOR),
        metric(prediction, truth, SCALAR_AND_VECTOR),
        rtol=1e-6,
    )


@few_examples
@given(st.integers(0, 2**32 - 1), st.floats(-1e3, 1e3))
def test_the_vrmse_does_not_depend_on_the_zero_of_the_scale(seed, offset):
    truth, prediction = np.random.default_rng(seed).normal(size=(2, 2, 3, 3, 8))
    np.testing.assert_allclose(
        vrmse(prediction + offset, truth + offset, SCALAR_AND_VECTOR),
        vrmse(prediction, truth, SCALAR_AND_VECTOR),
        rtol=1e-9,
    )


@few_examples
@given(st.integers(0, 2**32 - 1))
def test_the_error_of_a_trajectory_does_not_depend_on_other_trajectories(seed):
    truth, prediction = np.random.default_rng(seed).normal(size=(2, 5, 3, 3, 8)).astype(np.float32)
    for metric in METRICS.values():
        batch_errors = metric(prediction, truth, SCALAR_AND_VECTOR)
        single_errors = [
            metric(prediction[index : index + 1], truth[index : index + 1], SCALAR_AND_VECTOR)[0]
            for index in range(5)
        ]
        np.testing.assert_array_equal(batch_errors, single_errors)


def test_the_metrics_of_four_cells_equal_values_computed_by_hand():
    truth = np.array([3.0, 4.0, 0.0, 0.0]).reshape(1, 1, 1, 4)
    prediction = np.array([3.0, 4.0, 0.0, 1.0]).reshape(1, 1, 1, 4)
    assert relative_l2(prediction, truth, SCALAR).item() == pytest.approx(1 / 5)
    # The squares about the mean 7/4 sum to 25 - 4 (7/4)² = 12.75.
    assert vrmse(prediction, truth, SCALAR).item() == pytest.approx(1 / np.sqrt(12.75))


def test_a_vector_is_one_field():
    truth = np.array([3.0, 4.0]).reshape(1, 1, 2, 1)
    prediction = np.array([3.0, 5.0]).reshape(1, 1, 2, 1)
    assert relative_l2(prediction, truth, VECTOR).item() == pytest.approx(1 / 5)


@pytest.mark.parametrize("nonfinite_value", [np.nan, np.inf, -np.inf])
def test_a_diverged_prediction_has_an_infinite_error(nonfinite_value):
    truth = np.ones((2, 1, 1, 4)) + np.arange(4)
    prediction = truth.copy()
    prediction[1, 0, 0, 2] = nonfinite_value
    for metric in METRICS.values():
        assert metric(prediction, truth, SCALAR).ravel().tolist() == [0.0, np.inf]


def test_a_constant_truth_in_float32_has_no_vrmse():
    truth = np.full((1, 1, 1, 1000), 293.15, dtype=np.float32)
    assert vrmse(truth, truth, SCALAR).item() == 0
    assert vrmse(truth + np.float32(0.1), truth, SCALAR).item() == np.inf


def test_diverged_trajectories_are_counted_and_not_dropped():
    errors = np.array([0.1, 0.2, np.inf, np.inf, np.inf])[:, None]
    quantiles = summary(errors)
    assert quantiles["median"].item() == np.inf
    assert quantiles["max"].item() == np.inf
    assert quantiles["q10"].item() == pytest.approx(0.14)
    assert json.loads(SeriesSummary.of(quantiles).model_dump_json())["median"] == [None]


def test_the_baselines_predict_the_first_state_and_the_training_mean():
    state = np.random.default_rng(0).normal(size=(2, 5, 3, 4))
    persistence = untrained.persistence(state[:, 0], 4)
    assert persistence.shape == (2, 4, 3, 4)
    assert all((persistence[:, frame] == state[:, 0]).all() for frame in range(4))
    mean_prediction = untrained.training_mean(np.array([1.0, 2.0, 3.0]), state)
    assert mean_prediction.shape == state.shape
    assert (mean_prediction[:, :, 1] == 2.0).all()


def test_the_headline_has_the_errors_of_the_last_frame_and_of_the_mean_step():
    errors = xarray.DataArray(
        np.zeros((1, len(PREDICTORS), 2, 2, 2, 2)),
        dims=("trajectory", "predictor", "mode", "metric", "time", "field"),
        coords={"predictor": list(PREDICTORS), "mode": list(MODES), "metric": list(METRICS)},
    )
    errors_of_surrogate = errors.loc[{"predictor": "surrogate", "metric": "relative_l2"}][0]
    errors_of_surrogate.loc[{"mode": "rollout"}] = [[0.1, 0.3], [0.2, 0.6]]
    errors_of_surrogate.loc[{"mode": "one_step"}] = [[0.1, 0.3], [0.4, 0.8]]
    headline = headline_errors(errors).sel(predictor="surrogate")
    np.testing.assert_allclose(headline.sel(mode=list(MODES)), [[0.4, 0.4]])


def test_the_relative_l2_of_a_vector_does_not_change_with_the_axes():
    truth, prediction = np.random.default_rng(0).normal(size=(2, 3, 4, 2, 7))
    rotation = np.array([[0.8, -0.6], [0.6, 0.8]])
    rotated_fields = [np.einsum("ij,btjx->btix", rotation, states) for states in (prediction, truth)]
    np.testing.assert_allclose(
        relative_l2(*rotated_fields, VECTOR), relative_l2(prediction, truth, VECTOR), rtol=1e-13
    )


def test_a_truth_below_the_floor_is_divided_by_the_floor():
    truth = np.array([1e-30, 5.0]).reshape(2, 1, 1, 1) * np.array([1.0, -1.0])
    prediction = truth + 0.1
    fields = (FieldNorm((0,), 0.5),)
    error = 0.1 * np.sqrt(2)
    expected = [error / 0.5, error / (5.0 * np.sqrt(2))]
    for metric in METRICS.values():
        np.testing.assert_allclose(metric(prediction, truth, fields).ravel(), expected)
    assert below_floor(truth, fields)[:, 0, :, 0].tolist() == [[True, True], [False, False]]
    assert not below_floor(truth, SCALAR).any()
