"""Fitted baselines, compared with dense linear algebra and with systems whose solution is known."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from mpi4py import MPI

from pipeline import validate
from pipeline.data.dataset import Dataset
from pipeline.evaluation.baselines import fits, training_pairs
from pipeline.evaluation.baselines.linear_map import LinearBaseline, LinearMap, Scaling
from pipeline.evaluation.baselines.training_pairs import TrainingPairs
from tests.support.in_process import generate_in_process, settings_of
from tests.support.launching import SMALL_DATASET

RNG = np.random.default_rng(0)
SCALING = Scaling(np.zeros(1), np.ones(1))


def pairs_of(matrix: np.ndarray, offset: float = 0.0, count: int = 60, valid: int = 2) -> TrainingPairs:
    """Return pairs of the map x' = A x + offset, with noise in float32 rounding."""
    size = len(matrix)
    first = RNG.normal(size=(count, size))
    trajectories = [RNG.normal(size=(valid, size))]
    for _ in range(8):
        trajectories.append(trajectories[-1] @ matrix.T + offset)
    return TrainingPairs(
        SCALING, first, first @ matrix.T + offset, np.stack(trajectories, axis=1)[:valid], count
    )


def stable_matrix(size: int) -> np.ndarray:
    matrix = RNG.normal(size=(size, size))
    return 0.9 * matrix / np.abs(np.linalg.eigvals(matrix)).max()


@pytest.mark.parametrize("fit", [fits.ridge_regression, fits.dynamic_mode_decomposition])
def test_a_linear_system_is_predicted_exactly(fit) -> None:
    matrix = stable_matrix(6)
    baseline = fit(pairs_of(matrix))
    states = [RNG.normal(size=(1, 1, 6))]
    for _ in range(10):
        states.append(states[-1] @ matrix.T)
    frames = np.stack(states, axis=1)
    for mode in ("one_step", "rollout"):
        np.testing.assert_allclose(baseline.predict(frames, mode), frames[:, 1:], atol=1e-6)


def test_only_the_regression_has_an_offset() -> None:
    matrix = stable_matrix(6)
    frames = RNG.normal(size=(1, 2, 1, 6))
    expected = frames[:, :1] @ matrix.T + 3.0
    pairs = pairs_of(matrix, offset=3.0)
    ridge, dmd = (
        fit(pairs).predict(frames, "rollout")
        for fit in (fits.ridge_regression, fits.dynamic_mode_decomposition)
    )
    np.testing.assert_allclose(ridge, expected, atol=1e-6)
    assert np.abs(dmd - expected).max() > 0.1


def test_the_regression_equals_the_normal_equations_of_its_penalty() -> None:
    """Solve the primal problem with the penalty that the fit reports, on fewer pairs than numbers."""
    matrix, pairs = stable_matrix(40), None
    pairs = pairs_of(matrix, offset=1.0, count=25)
    baseline = fits.ridge_regression(pairs)
    penalty = float(baseline.description.partition("penalty ")[2].partition(";")[0])
    centred = pairs.first - pairs.first.mean(axis=0)
    change = pairs.second - pairs.first
    scale = np.linalg.svd(centred, compute_uv=False)[0] ** 2
    weights = np.linalg.solve(
        centred.T @ centred + penalty * scale * np.eye(40), centred.T @ (change - change.mean(axis=0))
    )
    x = RNG.normal(size=(1, 40))
    expected = x + change.mean(axis=0) + (x - pairs.first.mean(axis=0)) @ weights
    np.testing.assert_allclose(
        baseline.linear_map.rollout(x, np.array([1]))[:, 0], expected, rtol=1e-6, atol=1e-6
    )


def test_the_decomposition_equals_the_pseudo_inverse_and_its_eigenvalues_those_of_the_system() -> None:
    """Compare with A = Y X⁺ of definition 1 of Tu et al. 2014."""
    matrix = stable_matrix(12)
    pairs = pairs_of(matrix, count=40)
    baseline = fits.dynamic_mode_decomposition(pairs)
    operator = pairs.second.T @ np.linalg.pinv(pairs.first.T)
    x = RNG.normal(size=(3, 12))
    steps = np.array([1, 4, 7])
    for column, step in enumerate(steps):
        expected = x @ np.linalg.matrix_power(operator, step).T
        np.testing.assert_allclose(
            baseline.linear_map.rollout(x, steps)[:, column], expected, rtol=1e-6, atol=1e-6
        )
    linear_map = baseline.linear_map
    reduced = linear_map.inputs.T @ linear_map.outputs @ np.diag(linear_map.weights)
    np.testing.assert_allclose(
        np.sort_complex(np.linalg.eigvals(reduced)), np.sort_complex(np.linalg.eigvals(matrix)), rtol=1e-6
    )


@pytest.mark.parametrize("keeps_frame", [True, False])
def test_a_rollout_equals_the_repeated_step(keeps_frame: bool) -> None:
    inputs, outputs = np.linalg.qr(RNG.normal(size=(9, 3)))[0], 0.2 * RNG.normal(size=(9, 3))
    weights = np.array([1.0, 0.5, 2.0])
    linear_map = LinearMap(
        keeps_frame,
        centre=RNG.normal(size=9),
        offset=RNG.normal(size=9),
        inputs=inputs,
        outputs=outputs,
        coupling=outputs.T @ inputs,
        weights=weights,
    )
    rows = x = RNG.normal(size=(2, 9))
    steps = np.arange(1, 7)
    states = linear_map.rollout(rows, steps)
    for index in range(6):
        change = linear_map.offset + (x - linear_map.centre) @ inputs @ np.diag(weights) @ outputs.T
        x = x + change if keeps_frame else change
        np.testing.assert_allclose(states[:, index], x, rtol=1e-10)


def test_noise_in_the_data_selects_a_larger_penalty_and_a_smaller_rank() -> None:
    matrix = np.diag([0.95, 0.9] + [0.0] * 28)
    clean, noisy = pairs_of(matrix, count=31), pairs_of(matrix, count=31)
    noisy.second[:] += 0.3 * RNG.normal(size=noisy.second.shape)
    errors = []
    for pairs in (clean, noisy):
        dmd = fits.dynamic_mode_decomposition(pairs)
        truth = pairs.valid[:, -1]
        errors.append(np.linalg.norm(dmd.linear_map.rollout(pairs.valid[:, 0], np.array([8]))[:, 0] - truth))
        assert np.isfinite(errors[-1])
    assert errors[0] < 1e-6
    penalties = [
        float(fits.ridge_regression(pairs).description.partition("penalty ")[2].partition(";")[0])
        for pairs in (clean, noisy)
    ]
    assert penalties[0] < penalties[1]


def test_a_growing_mode_overflows_without_an_error() -> None:
    baseline = fits.dynamic_mode_decomposition(pairs_of(np.diag([30.0, 0.5]), valid=0))
    prediction = baseline.predict(np.ones((1, 400, 1, 2)), "rollout")
    assert np.isinf(prediction[0, -1, 0, 0])
    assert np.isfinite(prediction[0, 5]).all()


def test_the_channels_are_scaled_by_the_statistics_of_the_training_split() -> None:
    scaling = Scaling(np.array([300.0, 0.0, 1.0]), np.array([2.0, 1e-3, 0.0]))
    frames = RNG.normal(size=(4, 3, 5, 2))
    rows = scaling.rows(frames)
    np.testing.assert_allclose(rows[:, :10], ((frames[:, 0] - 300) / 2).reshape(4, 10))
    np.testing.assert_allclose(rows[:, 20:], frames[:, 2].reshape(4, 10) - 1)
    np.testing.assert_allclose(scaling.frames(rows, (5, 2)), frames, atol=1e-12)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    run = tmp_path_factory.mktemp("fits")
    overrides = (*SMALL_DATASET, "samples.train=6")
    folder = generate_in_process(run, *overrides)
    validate.run(settings_of(run, *overrides))
    return Dataset.open(folder)


def test_pairs_are_consecutive_frames_of_the_training_split(dataset: Dataset, monkeypatch) -> None:
    pairs = training_pairs.training_pairs(dataset)
    assert (len(pairs.first), pairs.total, len(pairs.valid)) == (18, 18, 2)
    expected = [
        frames
        for index in range(6)
        for states in [dataset.trajectory("train", index).state]
        for frames in pairwise(states)
    ]
    for array, column in ((pairs.first, 0), (pairs.second, 1)):
        frames = pairs.scaling.frames(array, dataset.spec.shape)
        np.testing.assert_allclose(frames, [pair[column] for pair in expected], rtol=1e-6)
    # The memory of four pairs of 24 float64 numbers.
    monkeypatch.setattr(training_pairs, "_MAX_BYTES", 4 * 2 * 8 * 24)
    few = training_pairs.training_pairs(dataset)
    assert (len(few.first), few.words) == (4, "4 of 18")
    np.testing.assert_array_equal(few.first[[0, -1]], pairs.first[[0, -1]])


def test_data_without_even_times_or_states_have_a_reason_in_place_of_a_fit(dataset: Dataset) -> None:
    fitted, sentences = fits.fit(dataset, MPI.COMM_SELF, has_states=False)
    assert fitted == {}
    assert sentences["dmd"] == (
        "Dynamic mode decomposition is not fitted. Quantities of interest are not the state of a solver."
    )
    fitted, sentences = fits.fit(dataset, MPI.COMM_SELF, has_states=True)
    assert list(fitted) == ["ridge", "dmd"]
    assert sentences["ridge"].startswith("Ridge regression on ")
    assert "of all 18 pairs" in sentences["ridge"]
    uneven = Dataset.open(dataset.folder)
    uneven.times = np.array([0.0, 0.1, 0.2, 0.4])
    assert fits.fit(uneven, MPI.COMM_SELF, has_states=True)[1]["dmd"].endswith("are not evenly spaced.")


def test_a_baseline_predicts_in_the_precision_of_the_data(dataset: Dataset) -> None:
    trajectory = dataset.trajectory("test", 0).state[None]
    baseline: LinearBaseline = fits.ridge_regression(training_pairs.training_pairs(dataset))
    prediction = baseline.predict(trajectory, "one_step")
    assert prediction.dtype == trajectory.dtype == np.float32
    assert torch.isfinite(torch.from_numpy(prediction)).all()
    persistence_error = np.linalg.norm(trajectory[:, :-1] - trajectory[:, 1:])
    assert np.linalg.norm(prediction - trajectory[:, 1:]) < persistence_error
