"""Symmetries of the windows of a batch: exact maps, their composition, and numbers that ranks share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import chain
from pipeline.data.dataset import Dataset
from pipeline.training import option_checks
from pipeline.training.batches.composition import AnySymmetry
from pipeline.training.batches.symmetries import chosen_symmetries, transformed, with_symmetries
from pipeline.training.task import TrainingTask
from simsurrogate.spec import Field
from simsurrogate.symmetries import CellMap, ParticleMap, SignChange
from surrogates import store
from surrogates.contract import Batch, Problem
from surrogates.fno import FNO
from surrogates.mlp import MLP
from surrogates.pod import POD
from tests.support import problems
from tests.support.trainings.training_cases import read_settings, tiny_arguments

SHIFT = CellMap("shift_x", (0, 1), (1, 1), (1, 0))
REFLECTION = CellMap("reflection_x", (0, 1), (-1, 1), (5, 0))
EXCHANGE = CellMap("exchange_xy", (1, 0), (1, 1), (0, 0))
SIGN = SignChange("sign", ("swirl",))
ROTATION, REFLECTED, ORDER, BOOST = (
    ParticleMap(name) for name in ("rotation", "reflection", "permutation", "boost")
)


def flow_problem(*symmetries: AnySymmetry) -> Problem:
    """Return a problem of a pseudo scalar and a vector, with a scalar coefficient field."""
    fields = Field("swirl", "1/s", "", pseudo=True), Field("velocity", "m/s", "", 1)
    statistics = problems.flow_problem((6, 6)).statistics
    return problems.grid_problem(
        (6, 6), ("periodic", "periodic"), fields=fields, symmetries=symmetries, statistics=statistics
    )


def bodies_problem(dimension: int, *symmetries: AnySymmetry) -> Problem:
    return problems.particle_problem(4, dimension, symmetries=symmetries)


def batch_of(problem: Problem, size: int = 3) -> Batch:
    return problems.batch(problem, size=size, dtype=torch.float64)


def test_a_shift_rolls_all_fields() -> None:
    problem = flow_problem(SHIFT)
    batch = batch_of(problem)
    # The numbers choose the powers 0, 2 and 5 of 6.
    result = transformed(batch, problem, {SHIFT: np.array([[0.0], [0.35], [0.99]])})
    for name in ("state", "coefficient_fields"):
        for window, power in enumerate((0, 2, 5)):
            rolled = torch.roll(batch[name][window], -power, -2)  # type: ignore[literal-required]
            assert torch.equal(result[name][window], rolled)  # type: ignore[literal-required]


def test_a_reflection_reverses_the_normal_component_and_the_pseudo_field() -> None:
    problem = flow_problem(REFLECTION)
    batch = batch_of(problem)
    result = transformed(batch, problem, {REFLECTION: np.array([[0.9], [0.1], [0.9]])})
    swirl, velocity_x, velocity_y = result["state"].unbind(2)
    expected = batch["state"].flip(-2)
    for window in (0, 2):
        assert torch.equal(swirl[window], -expected[window, :, 0])
        assert torch.equal(velocity_x[window], -expected[window, :, 1])
        assert torch.equal(velocity_y[window], expected[window, :, 2])
        assert torch.equal(result["coefficient_fields"][window], batch["coefficient_fields"][window].flip(-2))
    assert torch.equal(result["state"][1], batch["state"][1])


def test_an_exchange_of_axes_exchanges_the_components_of_vectors() -> None:
    problem = flow_problem(EXCHANGE)
    batch = batch_of(problem)
    result = transformed(batch, problem, {EXCHANGE: np.full((3, 1), 0.7)})
    transposed = batch["state"].transpose(-1, -2)
    assert torch.equal(result["state"][:, :, 0], -transposed[:, :, 0])
    assert torch.equal(result["state"][:, :, 1:], transposed[:, :, [2, 1]])


@pytest.mark.parametrize(
    "problem",
    [
        flow_problem(SHIFT, REFLECTION, EXCHANGE, SIGN),
        bodies_problem(2, ROTATION, REFLECTED, ORDER),
        bodies_problem(3, ROTATION, REFLECTED, ORDER, BOOST),
    ],
    ids=["grid", "plane", "space"],
)
def test_a_composition_applies_the_symmetries_one_after_the_other(problem: Problem) -> None:
    batch = batch_of(problem, 16)
    rng = np.random.default_rng(0)
    symmetries = problem.spec.symmetries
    counts = {ROTATION: 1 if problem.spec.shape == (4,) and len(problem.spec.channels) == 4 else 3}
    counts |= {ORDER: 4, BOOST: 3}
    draws = {symmetry: rng.random((16, counts.get(symmetry, 1))) for symmetry in symmetries}
    expected = batch
    for symmetry in symmetries:
        expected = transformed(expected, problem, {symmetry: draws[symmetry]})
    result = transformed(batch, problem, draws)
    assert not torch.allclose(result["state"], batch["state"])
    for name in ("state", "coefficient_fields", "parameters", "time"):
        torch.testing.assert_close(result[name], expected[name], rtol=1e-13, atol=1e-11)  # type: ignore[literal-required]


def test_drawn_rotations_are_orthogonal_and_uniform() -> None:
    problem = bodies_problem(3, ROTATION, REFLECTED)
    batch = batch_of(problem, 4000)
    batch["state"][:] = torch.eye(4, 6, dtype=torch.float64).T[:, :4]
    result = with_symmetries(
        batch, problem, problem.spec.symmetries, seed=0, step=0, positions=np.arange(4000)
    )["state"][:, 0, :3, :3].numpy()
    np.testing.assert_allclose(
        result @ result.transpose(0, 2, 1), np.tile(np.eye(3), (4000, 1, 1)), atol=1e-14
    )
    # Entries of a uniformly random orthogonal matrix have the mean 0, the mean square 1 / 3 and the mean
    # fourth power 1 / 5. Half of the determinants are -1.
    for power, mean in ((1, 0.0), (2, 1 / 3), (4, 1 / 5)):
        np.testing.assert_allclose((result**power).mean(0), mean, atol=0.035)
    assert abs(np.linalg.det(result).mean()) < 0.06


def test_the_operation_of_a_window_does_not_depend_on_the_ranks() -> None:
    problem = flow_problem(SHIFT, REFLECTION, EXCHANGE, SIGN)
    symmetries = problem.spec.symmetries
    batch = batch_of(problem, 8)
    result = with_symmetries(batch, problem, symmetries, seed=1, step=2, positions=np.arange(8))
    half: Batch = {name: tensor[4:] for name, tensor in batch.items()}  # type: ignore[assignment]
    result_of_half = with_symmetries(half, problem, symmetries, seed=1, step=2, positions=np.arange(4, 8))
    assert torch.equal(result_of_half["state"], result["state"][4:])
    result_of_next_step = with_symmetries(batch, problem, symmetries, seed=1, step=3, positions=np.arange(8))
    assert not torch.equal(result_of_next_step["state"], result["state"])
    assert with_symmetries(batch, problem, (), seed=1, step=2, positions=np.arange(8)) is batch


def test_all_are_the_symmetries_of_the_drawn_distribution() -> None:
    spec = bodies_problem(2, ROTATION, ORDER, BOOST).spec
    assert chosen_symmetries(spec, "all", MLP) == (ROTATION, ORDER)
    assert chosen_symmetries(spec, "none", MLP) == chosen_symmetries(spec, [], MLP) == ()
    assert chosen_symmetries(spec, ["boost", "rotation"], MLP) == (ROTATION, BOOST)


def test_a_symmetry_that_the_data_do_not_have_is_refused_with_the_allowed_ones() -> None:
    problem = flow_problem(SHIFT, EXCHANGE)
    surrogate = store.build("unet", problems.options("unet", largest=2), problem, "float32")
    training = read_settings("training.symmetries=[shift_x,rotation]").training
    with pytest.raises(ValueError, match=r"rotation\. Allowed are shift_x, exchange_xy\. Type "):
        option_checks.check(surrogate, training)
    with pytest.raises(ValueError, match=r"no symmetries\. Type training\.symmetries=none"):
        chosen_symmetries(flow_problem().spec, ["shift_x"], FNO)


def test_a_surrogate_that_learns_from_codes_uses_no_symmetry() -> None:
    spec = flow_problem(SHIFT, EXCHANGE).spec
    assert chosen_symmetries(spec, "all", POD) == chosen_symmetries(spec, "none", POD) == ()
    with pytest.raises(
        ValueError, match=r"=\[shift_x\] needs states, and POD .* Type training\.symmetries=all"
    ):
        chosen_symmetries(spec, ["shift_x"], POD)


def test_a_wrong_symmetry_is_refused_before_work_starts(tmp_path: Path) -> None:
    options = "solver.boundary.x=dirichlet", "training.symmetries=[shift_x]"
    with pytest.raises(ValueError, match=r"shift_x\. Allowed are shift_y, reflection_x, reflection_y, sign"):
        chain.check(read_settings(f"run={tmp_path}", *options))


def test_the_identity_of_a_model_has_the_symmetries_in_use(dataset: Path, tmp_path: Path) -> None:
    data = Dataset.open(dataset)

    def names_in_identity(option: str) -> object:
        settings = read_settings(*tiny_arguments(tmp_path, dataset, f"training.symmetries={option}"))
        return TrainingTask.of(data, settings).identity["training"].get("symmetries")

    assert names_in_identity("all") == ["shift_x", "reflection_x", "sign"]
    assert names_in_identity("[sign,shift_x]") == ["shift_x", "sign"]
    assert names_in_identity("none") is None


@pytest.mark.parametrize(
    ("symmetry", "message"),
    [
        (CellMap("exchange_xy", (1, 0), (1, 1), (0, 0)), "does not suit"),
        (CellMap("shift_x", (0,), (1,), (1,)), "does not suit"),
        (SignChange("sign", ("heat",)), "does not suit"),
        (ROTATION, "does not suit"),
    ],
)
def test_a_spec_refuses_symmetries_of_other_sites_and_fields(symmetry: AnySymmetry, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        problems.grid_problem((6, 8), ("periodic", "periodic"), symmetries=(symmetry,))


def test_a_map_between_cells_has_a_permutation_and_signs() -> None:
    with pytest.raises(ValueError, match="no permutation"):
        CellMap("exchange_xy", (1, 1), (1, 1), (0, 0))
    with pytest.raises(ValueError, match="do not fit"):
        CellMap("reflection_x", (0, 1), (0, 1), (0, 0))
