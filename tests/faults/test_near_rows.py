"""Trajectories that are nearly equal: found by the ratio of distances, and not in clean data."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from pipeline import adopt, validate
from pipeline.data.card import figures
from pipeline.data.checks.trajectories import equal_rows, near_rows
from pipeline.data.plan import index
from simsurrogate.errors import UserError
from tests.support.in_process import settings_of

DESCRIPTION = """
fields: {u: {unit: K}}
axes: {x: {unit: m, extent: 1.0, boundary: periodic}}
times: {unit: s, step: 0.1}
in_place: true
splits: {train: 30, valid: 4, test: 6}
"""


def walks(num_trajectories: int = 40, num_parameters: int = 0) -> np.ndarray:
    """Return random trajectories (N, T, X); with parameters, they depend smoothly on these few numbers."""
    rng = np.random.default_rng(0)
    if not num_parameters:
        return rng.normal(size=(num_trajectories, 6, 32)).cumsum(axis=1).astype(np.float32)
    parameters = rng.uniform(size=(num_trajectories, num_parameters))
    waves = rng.normal(size=(2, num_parameters, 6, 32))
    return np.sin(np.einsum("np,pts->nts", parameters, waves[0]) + waves[1].sum(0)).astype(np.float32)


def validated(folder: Path, states: np.ndarray) -> None:
    np.save(folder / "u.npy", states)
    (folder / "adopt.yaml").write_text(DESCRIPTION)
    run = folder / "run"
    with mock.patch.object(figures, "draw", return_value=[]):
        adopt.run(settings_of(run, f"source={folder / 'u.npy'}", f"description={folder / 'adopt.yaml'}"))
    validate.run(settings_of(run))


@pytest.mark.fault(
    "a test trajectory is nearly a training trajectory",
    cause="a copy with noise of {noise}, next to {other_copies} more in the training split",
    result="validate names both",
    lost="nothing",
)
@pytest.mark.parametrize(("noise", "other_copies"), [(1e-2, 0), (1e-4, 0), (1e-4, 2)])
def test_a_nearly_repeated_trajectory_is_named(noise: float, other_copies: int, tmp_path: Path) -> None:
    states = walks()
    rng = np.random.default_rng(1)
    for row in (36, *range(20, 20 + other_copies)):
        states[row] = states[7] + noise * rng.normal(size=states[7].shape)
    with pytest.raises(
        UserError, match=r"near_rows: trajectory 2 of test nearly equals trajectory 7 of train"
    ):
        validated(tmp_path, states)


def test_pairs_of_one_split_are_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    states = walks()
    states[3], states[5] = states[7], states[8] * (1 + 1e-5)
    validated(tmp_path, states)
    warning = capsys.readouterr().err
    assert (
        "warning: equal_rows: trajectory 7 of train equals trajectory 3 of train in its first, middle and "
        "last frame (pairs in one split: 1)"
    ) in warning
    assert "warning: near_rows: trajectory 8 of train nearly equals trajectory 5 of train" in warning
    assert warning.count("pairs in one split: 1") == 2


def test_equal_trajectories_of_a_small_split_are_a_warning() -> None:
    hashes = np.array([5, 7, 5], np.uint64)
    result = equal_rows.result("dataset", np.arange(3), hashes)
    assert result.outcome == "warning"
    assert result.message.startswith("trajectory 2 of train equals trajectory 0 of train")
    result = equal_rows.result("dataset", np.array([0, 1, index("test", 0)]), hashes)
    assert result.outcome == "failed"


@pytest.mark.parametrize("num_parameters", [0, 1, 2])
def test_independent_draws_pass(
    num_parameters: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    validated(tmp_path, walks(num_parameters=num_parameters))
    assert "equals" not in capsys.readouterr().err


def sketches_of(parameters: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return sketches (N, 48) that depend smoothly on parameters (N, P)."""
    return np.asarray(np.tanh(parameters @ rng.normal(size=(parameters.shape[1], 48))))


@pytest.mark.parametrize(("dimension", "num_trajectories"), [(1, 300), (2, 300), (5, 300), (1, 24), (2, 24)])
def test_the_rate_of_false_alarms_is_that_of_the_docstring(dimension: int, num_trajectories: int) -> None:
    rng = np.random.default_rng(dimension)
    alarms = 0
    for _ in range(200):
        rows = sketches_of(rng.uniform(size=(num_trajectories, dimension)), rng)
        alarms += len(near_rows.close_pairs(np.arange(num_trajectories), rows))
    # 200 data sets have 0.2 alarms on average; more than 3 have a probability below 1e-4.
    assert alarms <= 3


@pytest.mark.parametrize("num_groups", [1, 50])
@pytest.mark.parametrize("size", [2, 3, 8])
@pytest.mark.parametrize("dimension", [5, 20])
def test_near_copies_of_one_or_of_every_trajectory_are_found(
    dimension: int, size: int, num_groups: int
) -> None:
    rng = np.random.default_rng(dimension)
    singles = sketches_of(rng.uniform(size=(50, dimension)), rng)
    copies = np.repeat(singles[:num_groups], size, axis=0)
    rows = np.concatenate([copies + 1e-6 * rng.normal(size=copies.shape), singles[num_groups:]])
    pairs = near_rows.close_pairs(np.arange(len(rows)), rows)
    groups = np.arange(len(copies)).reshape(num_groups, size)
    assert {pair[:2] for pair in pairs} == {
        (later, earlier)
        for group in groups.tolist()
        for earlier in group
        for later in group
        if later > earlier
    }


def test_a_regular_grid_of_parameters_has_no_near_copies() -> None:
    rows = sketches_of(np.linspace(0, 1, 30)[:, None], np.random.default_rng(0))
    assert near_rows.close_pairs(np.arange(30), rows) == []


def test_the_order_of_the_trajectories_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 48))
    rows[40] = rows[10] + 1e-5
    indices = np.array([index("train", number) for number in range(60)])
    order = rng.permutation(60)
    pairs = near_rows.close_pairs(indices, rows)
    assert [pair[:2] for pair in pairs] == [(40, 10)]
    assert [pair[:2] for pair in near_rows.close_pairs(indices[order], rows[order])] == [(40, 10)]


@pytest.mark.parametrize("rows", [np.empty((0, 48)), np.ones((19, 48)), np.ones((50, 48))])
def test_few_or_equal_trajectories_have_no_pairs(rows: np.ndarray) -> None:
    assert near_rows.close_pairs(np.arange(len(rows)), rows) == []
