"""Statistics of the checks: against other implementations, and their rates of false alarms on clean draws."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.data.checks.trajectories.first_windows import FirstWindows, window_sketches
from pipeline.data.checks.trajectories.overlaps import Queries, Search, _scale
from pipeline.data.checks.trajectories.parameter_box import centred_discrepancy, expected_discrepancy
from pipeline.data.checks.trajectories.pauses import pauses
from pipeline.data.checks.trajectories.sampled_sites import positions
from pipeline.data.checks.trajectories.two_samples import kolmogorov_smirnov
from pipeline.data.plan import index


@pytest.mark.parametrize(("first", "second"), [(8, 64), (40, 40), (300, 20)])
def test_the_test_of_kolmogorov_and_smirnov_agrees_with_scipy(first: int, second: int) -> None:
    import scipy.stats

    rng = np.random.default_rng(first)
    for shift in (0.0, 0.3, 0.8):
        samples = rng.normal(size=first), rng.normal(shift, size=second)
        distance, probability = kolmogorov_smirnov(*samples)
        exact = scipy.stats.ks_2samp(*samples, method="exact")
        assert distance == pytest.approx(exact.statistic, rel=1e-12)
        # The series is a limit for large samples; it is never far below the exact probability.
        assert probability == pytest.approx(exact.pvalue, rel=0.35, abs=1e-4)


@pytest.mark.parametrize("sizes", [(2, 8), (8, 64), (200, 30)])
def test_the_probability_of_equal_distributions_is_not_too_small(sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(sizes))
    draws = [
        kolmogorov_smirnov(rng.uniform(size=sizes[0]), rng.uniform(size=sizes[1]))[1] for _ in range(1000)
    ]
    # 1000 draws have 10 probabilities below 1 %; more than 22 have a probability below 1e-3.
    assert sum(probability < 0.01 for probability in draws) <= 22


@pytest.mark.parametrize("dimension", [1, 3])
def test_the_discrepancy_agrees_with_scipy_and_with_its_expectation(dimension: int) -> None:
    from scipy.stats import qmc

    points = np.random.default_rng(dimension).uniform(size=(200, 50, dimension))
    squares = [centred_discrepancy(sample) ** 2 for sample in points]
    assert squares[0] == pytest.approx(qmc.discrepancy(points[0], method="CD"), rel=1e-9)
    assert np.mean(squares) == pytest.approx(expected_discrepancy(50, dimension) ** 2, rel=0.2)


@pytest.mark.parametrize("dimension", [1, 2, 6])
def test_decaying_waves_of_few_parameters_have_no_overlaps(dimension: int) -> None:
    rng = np.random.default_rng(dimension)
    times = 0.2 * np.arange(6)
    alarms = 0
    for _ in range(40):
        waves, rates = rng.normal(size=(dimension, 24)), rng.uniform(0.5, 2, dimension)
        amplitudes = rng.uniform(0.5, 1.5, (48, dimension))
        damping = rng.uniform(0.5, 1.5, (48, 1, 1))
        decay = np.exp(-damping * rates * times[:, None])
        states = np.einsum("nk,ntk,kx->ntx", amplitudes, decay, waves)
        alarms += len(search_of(states).near())
    # 40 data sets have 0.04 alarms on average.
    assert alarms <= 1


def search_of(states: np.ndarray) -> Search:
    """Return the search for overlaps among trajectories of one field (N, T, X), by sketches alone."""
    sketches = window_sketches([states])
    indices = np.array([index("train", number) for number in range(len(states))])
    frames = np.zeros(len(states), np.int64)
    windows = FirstWindows(frames, np.arange(len(states), dtype=np.uint64), sketches[:, 0])
    scale = _scale(windows.sketch)
    queries = Queries(
        hash=windows.hash,
        index=indices,
        frame=frames,
        chosen=indices,
        chosen_frame=frames,
        points=windows.sketch * scale,
        scale=scale,
    )
    search = Search.of(queries)
    search._add_near(indices, np.ones(sketches.shape[:2], bool), sketches)
    return search


def test_a_shifted_copy_is_the_nearest_trajectory() -> None:
    rng = np.random.default_rng(0)
    states = rng.normal(size=(30, 10, 24)).cumsum(axis=1)
    states[20, :5] = states[3, 4:9] + 1e-4 * rng.normal(size=(5, 24))
    found = search_of(states).near()
    assert [(int(item["index"]), int(item["other"]), int(item["shift"])) for item in found] == [(20, 3, 4)]


@pytest.mark.parametrize("name", ["steady state", "rest before a source", "steps at round-off"])
def test_solutions_that_rest_have_no_pauses(name: str) -> None:
    times = np.arange(30)[:, None]
    shape = np.sin(np.arange(16) + 1.0)
    states = {
        "steady state": 300 + np.exp(-0.9 * times) * shape,
        "rest before a source": np.maximum(times - 5.0, 0.0) * shape,
        "steps at round-off": 300 + 1e-5 * times * shape,
    }[name].astype(np.float32)[None]
    assert pauses_of(states) == [[0, 0]]


def test_a_pulse_between_the_sampled_values_has_no_pause() -> None:
    cells = 2**13
    sampled = positions(cells)
    # The pulse starts at sampled cells, and goes on where the next 20 widths have none.
    start = int(sampled[np.flatnonzero(np.diff(sampled) > 40 * 4)[0]]) - 8
    pulse = np.zeros((30, cells), np.float32)
    for frame in range(30):
        pulse[frame, start + 4 * frame :][:8] = 1.0
    still = pulse.copy()
    still[20:] = still[19]
    assert not np.any(pulse[8:, sampled]), "the sampled values are equal from frame 8 on"
    assert pauses_of(np.stack([pulse, still])) == [[0, 0], [19, 0]]


def pauses_of(states: np.ndarray) -> list[list[int]]:
    """Return the pauses of trajectories of one field (N, T, X)."""
    samples = states[..., positions(states.shape[2])].astype(np.float64)
    largest = np.abs(states).max(axis=(1, 2)).astype(np.float64)
    found: list[list[int]] = pauses([samples], [states], [largest], float(np.finfo(np.float32).eps)).tolist()
    return found
