"""The declared symmetries of every solver: they commute with the solver and keep the drawn distribution."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.training.batches.composition import AnySymmetry
from simsurrogate.symmetries import ParticleMap, keeps_distribution
from solvers.contract import Solver, SteppedTrajectory
from tests.support import symmetry_cases
from tests.support.solver_cases import build_shipped
from tests.support.symmetry_cases import CASES, all_cases

#: The number of drawn trajectories of the comparison of distributions.
NUM_DRAWS = 150


@pytest.fixture(scope="module", params=all_cases())
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def solver(case: str) -> Solver:
    name, changes, _ = all_cases()[case]
    return build_shipped(name, **changes)


def test_the_options_determine_the_declared_symmetries(case: str, solver: Solver) -> None:
    names = all_cases()[case][2]
    if names is not None:
        assert [symmetry.name for symmetry in solver.spec.symmetries] == names.split()


def test_each_symmetry_commutes_with_the_solver(solver: Solver) -> None:
    rng = np.random.default_rng(3)
    symmetries = solver.spec.symmetries
    for chosen in [*((symmetry,) for symmetry in symmetries), *([symmetries] if symmetries else [])]:
        assert commutator(solver, chosen, rng) < 1e-10, chosen


def test_an_exchange_of_axes_commutes_with_alternating_directions_to_the_tolerance() -> None:
    solver = build_shipped("heat", resolution=24)
    (exchange,) = (symmetry for symmetry in solver.spec.symmetries if symmetry.name == "exchange_xy")
    assert commutator(solver, (exchange,), np.random.default_rng(3)) < 1e-5


def commutator(solver: Solver, symmetries: tuple[AnySymmetry, ...], rng: np.random.Generator) -> float:
    """Return the difference between "advance, then transform" and "transform, then advance"."""
    parameters = solver.sample(np.random.default_rng(7))
    trajectory = solver.prepare(parameters)
    assert isinstance(trajectory, SteppedTrajectory)
    times = np.array([0.0, solver.time_scale / 20])
    frames = np.array(list(trajectory.solve(times)))
    batch = symmetry_cases.batch_of(frames, trajectory.coefficient_fields, times)
    draws = symmetry_cases.random_draws(solver, symmetries, rng)
    frames, fields = symmetry_cases.transformed_window(solver, batch, draws)
    assert not np.allclose(frames[1], batch["state"][0, 1], rtol=1e-3) or solver.spec.parametric
    with symmetry_cases.trajectory_with(solver, parameters, fields) as other_trajectory:
        final_state = other_trajectory.advance(frames[0], 0.0, float(times[1]))
    return float(np.linalg.norm(final_state - frames[1]) / np.linalg.norm(frames[1] - frames[0]))


def test_each_symmetry_keeps_the_drawn_distribution(solver: Solver) -> None:
    symmetries = tuple(filter(keeps_distribution, solver.spec.symmetries))
    if symmetries:
        # Operations map the trajectories of parametric data to themselves and change nothing.
        scores = distribution_scores(solver, symmetries)
        assert np.abs(scores).max(initial=0.0) < 5, scores


@pytest.mark.parametrize(
    ("case", "symmetry"),
    [
        ("two bodies in the plane", ParticleMap("reflection")),
        ("figure-eight", ParticleMap("rotation")),
        ("two unequal bodies", ParticleMap("permutation")),
    ],
)
def test_the_comparison_of_distributions_detects_a_wrong_symmetry(case: str, symmetry: AnySymmetry) -> None:
    name, changes, _ = CASES[case]
    assert np.abs(distribution_scores(build_shipped(name, **changes), (symmetry,))).max() > 5


def distribution_scores(solver: Solver, symmetries: tuple[AnySymmetry, ...]) -> np.ndarray:
    """Return the mean changes of features by the symmetries, in standard errors of the mean.

    The features are linear, quadratic and bounded functions of random sums of the first state and the
    coefficient fields.
    """
    rng = np.random.default_rng(5)
    changes, weights = [], None
    for seed in range(NUM_DRAWS):
        trajectory = solver.prepare(solver.sample(np.random.default_rng(seed)))
        (state,) = trajectory.solve(np.array([0.0]))
        batch = symmetry_cases.batch_of(state[None], trajectory.coefficient_fields, np.array([0.0]))
        draws = {
            symmetry: rng.random(values.shape)
            for symmetry, values in symmetry_cases.random_draws(solver, symmetries, rng).items()
        }
        frames, fields = symmetry_cases.transformed_window(solver, batch, draws)
        before, after = (
            np.concatenate([values.ravel() for values in window])
            for window in ((state, batch["coefficient_fields"][0].numpy()), (frames[0], fields))
        )
        if weights is None:
            weights = rng.standard_normal((40, len(before))) / np.linalg.norm(before)
        changes.append(features(weights @ after) - features(weights @ before))
    mean, deviation = np.mean(changes, axis=0), np.std(changes, axis=0)
    is_changing = deviation > 1e-9 * np.abs(features(weights @ before))
    assert np.all(np.abs(mean[~is_changing]) < 1e-9)
    return mean[is_changing] / deviation[is_changing] * np.sqrt(NUM_DRAWS)


def features(sums: np.ndarray) -> np.ndarray:
    return np.concatenate([sums, sums[::2] * sums[1::2], np.tanh(sums)])
