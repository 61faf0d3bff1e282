"""The reduced basis `pod`: its modes, its errors, its functionals, and its training."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from simsurrogate.errors import UserError
from surrogates import store
from surrogates.contract import ExtrapolationWarning, Problem
from surrogates.grids.reduced_basis import ReducedBasis, reduced_basis
from surrogates.pod import POD
from tests.support import problems
from tests.support.surrogate_cases import FramesInMemory, arguments_of, build_perturbed

OPTIONS = {"modes": 6, "left_out_variance": 0.0, "width": 8, "layers": 2}


def low_rank_frames(num_frames: int, num_values: int = 200, seed: int = 0) -> np.ndarray:
    """Return frames (M, 1, D) of 30 modes with fast decaying variances about a mean."""
    rng = np.random.default_rng(seed)
    modes = np.linalg.qr(np.random.default_rng(1).standard_normal((num_values, 30)))[0].T
    coefficients = rng.standard_normal((num_frames, 30)) * 0.5 ** np.arange(30)
    return (3.0 + coefficients @ modes)[:, None]


class Frames(FramesInMemory):
    """Frames that are computed chunk by chunk, so that they take no memory."""

    def __init__(self, num_frames: int, num_values: int):
        self.num_frames, self.num_values = num_frames, num_values

    def __iter__(self) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        modes = np.random.default_rng(1).standard_normal((30, self.num_values))
        for start in range(0, self.num_frames, 20):
            coefficients = np.random.default_rng(start).standard_normal((20, 30)) * 0.5 ** np.arange(30)
            yield np.arange(start, start + 20), torch.from_numpy(coefficients @ modes)[:, None]


class RankFrames(FramesInMemory):
    """The frames of one of two ranks, which are threads that meet at a barrier."""

    def __init__(self, states: torch.Tensor, rank: int, barrier: threading.Barrier, values: dict[int, Any]):
        super().__init__(states)
        self.rank, self.barrier, self.values = rank, barrier, values

    def __iter__(self) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        for indices in np.array_split(np.arange(self.rank, self.num_frames, 2), 3):
            yield indices, self.states[indices]

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        return self.gather(values).sum(0)

    def gather(self, values: torch.Tensor) -> torch.Tensor:
        self.values[self.rank] = values
        self.barrier.wait(60)
        gathered = torch.stack([self.values[0], self.values[1]])
        self.barrier.wait(60)
        return gathered


def basis_of(frames: FramesInMemory, num_values: int = 200, **changes: float) -> ReducedBasis:
    arguments = {"max_modes": 10, "left_out": 0.0} | changes
    return reduced_basis(
        frames,
        lambda states: states.flatten(1),
        num_values=num_values,
        device=torch.device("cpu"),
        **arguments,  # type: ignore[arg-type]
    )


def test_the_modes_are_the_leading_singular_vectors() -> None:
    frames = low_rank_frames(150)
    basis = basis_of(FramesInMemory(torch.from_numpy(frames)[None], chunk_size=11))
    deviations = frames[:, 0] - frames[:, 0].mean(0)
    _, singular_values, right = np.linalg.svd(deviations, full_matrices=False)
    np.testing.assert_allclose(basis.mean, frames[:, 0].mean(0), rtol=1e-13)
    np.testing.assert_allclose(basis.deviations, singular_values[:10] / np.sqrt(150), rtol=1e-9)
    np.testing.assert_allclose(basis.modes @ basis.modes.T, np.eye(10), atol=1e-13)
    np.testing.assert_allclose(np.abs(np.sum(basis.modes.numpy() * right[:10], axis=1)), 1, rtol=1e-9)
    expected = (singular_values[10:] ** 2).sum() / (singular_values**2).sum()
    assert basis.left_out == pytest.approx(expected, rel=1e-6)


def test_the_bound_on_the_variance_determines_the_number_of_modes() -> None:
    frames = low_rank_frames(150)
    singular_values = np.linalg.svd(frames[:, 0] - frames[:, 0].mean(0), compute_uv=False)
    remainders = 1 - np.cumsum(singular_values**2) / np.sum(singular_values**2)
    for left_out in (0.2, 1e-2, 1e-4):
        basis = basis_of(FramesInMemory(torch.from_numpy(frames)[None]), left_out=left_out)
        assert len(basis.modes) == 1 + np.sum(remainders > left_out)
        assert basis.left_out <= left_out


def test_the_basis_depends_on_the_chunks_by_round_off_only() -> None:
    states = torch.from_numpy(low_rank_frames(60))[None]
    first, second = (basis_of(FramesInMemory(states, chunk_size=size)) for size in (60, 7))
    torch.testing.assert_close(first.modes, second.modes, rtol=0, atol=1e-11)


def test_two_ranks_compute_the_basis_of_one_rank() -> None:
    states = torch.from_numpy(low_rank_frames(61))[None]
    barrier, values = threading.Barrier(2), {}
    ranks = [RankFrames(states, rank, barrier, values) for rank in (0, 1)]
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(basis_of, ranks)
    expected = basis_of(FramesInMemory(states))
    assert torch.equal(first.modes, second.modes)
    torch.testing.assert_close(first.modes, expected.modes, rtol=0, atol=1e-11)
    assert first.left_out == pytest.approx(expected.left_out, rel=1e-6)


def test_frames_of_low_rank_have_few_modes() -> None:
    # Noise at the level of round-off must not become modes.
    rng = np.random.default_rng(2)
    frames = rng.standard_normal((40, 3)) @ rng.standard_normal((3, 50))
    basis = basis_of(FramesInMemory(torch.from_numpy(frames)[None, :, None]), num_values=50)
    assert len(basis.modes) == 3
    assert basis.left_out < 1e-14


def peak_megabytes() -> float:
    """Return the largest resident memory (MB) since the last reset by /proc/self/clear_refs."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line]
    return int(line.split()[1]) / 1000


def test_the_memory_does_not_grow_with_the_number_of_frames() -> None:
    # All frames together take 40 MB and 400 MB. Peaks differ by some 10 MB from run to run, because the
    # allocator keeps freed memory.
    peaks: dict[int, list[float]] = {100: [], 1000: []}
    for num_frames in (100, 100, 1000, 1000):
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")
        basis_of(Frames(num_frames, 50_000), num_values=50_000)
        peaks[num_frames].append(peak_megabytes())
    assert min(peaks[1000]) < max(peaks[100]) + 40


def test_equal_frames_have_no_modes() -> None:
    basis = basis_of(FramesInMemory(torch.full((1, 8, 1, 200), 0.1, dtype=torch.float64)))
    assert len(basis.modes) == 0
    np.testing.assert_allclose(basis.mean, 0.1, rtol=1e-15)


@pytest.fixture(params=[(), ("mean", "divergence"), ("boundary",)], ids=str)
def surrogate(request: pytest.FixtureRequest) -> POD:
    """Return a surrogate of random frames with the constraints of the parameter."""
    problem = (
        problems.flow_problem((8, 9))
        if "mean" in request.param
        else problems.parametric_problem((9, 8), ("dirichlet", "neumann"), coefficient_fields=())
    )
    torch.manual_seed(0)
    options = OPTIONS | {"constraints": request.param}
    surrogate = store.build("pod", options, problem, "float64")
    assert isinstance(surrogate, POD)
    surrogate.initialise(FramesInMemory(problems.batch(problem, 5, 4, torch.float64)["state"]))
    return surrogate


def test_functionals_and_cells_are_those_of_the_predicted_fields(surrogate: POD) -> None:
    problem = surrogate.problem
    arguments = arguments_of(problem, [0.0, 0.25, 1.0])
    states = surrogate.predict(**arguments).mean
    parameters, times = arguments["parameters"], arguments["times"]
    weights = torch.randn(3, len(problem.spec.channels), *problem.spec.shape, dtype=torch.float64)
    expected = torch.einsum("btcxy,lcxy->btl", states, weights)[:, 1:]
    start = arguments["initial_state"]
    values = surrogate.functionals(weights).predict(parameters, times, start)
    torch.testing.assert_close(values[:, 1:], expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))
    cells = [(0, 3), (7, 2)]
    at_cells = surrogate.at_cells(cells).predict(parameters, times, start).unflatten(-1, (2, -1))
    expected = torch.stack([states[..., row, column] for row, column in cells], 2)
    torch.testing.assert_close(at_cells[:, 1:], expected[:, 1:], rtol=1e-9, atol=1e-9)


def test_only_the_constraint_mean_needs_the_initial_state(surrogate: POD) -> None:
    arguments = arguments_of(surrogate.problem, [0.0, 0.25])
    functionals = surrogate.at_cells([(0, 0)])
    if surrogate.problem.spec.conserved_channels:
        with pytest.raises(UserError, match="takes the mean of the initial state, which is missing"):
            functionals.predict(arguments["parameters"], arguments["times"])
    else:
        functionals.predict(arguments["parameters"], arguments["times"])


def test_the_errors_of_projection_and_regression_are_orthogonal(surrogate: POD) -> None:
    if surrogate.constraints.projections:
        pytest.skip("constraints move the prediction out of the basis")
    arguments = arguments_of(surrogate.problem, [0.0, 0.25])
    truth = problems.batch(surrogate.problem, 2, 2, torch.float64)["state"][:, 1]
    prediction = surrogate.predict(**arguments).mean[:, 1]
    closest = surrogate.closest(truth)
    std = torch.tensor(surrogate.problem.statistics.std, dtype=torch.float64).view(-1, 1, 1)
    parts = [((states - closest) / std).flatten(1) for states in (truth, prediction)]
    total = ((truth - prediction) / std).square().sum((1, 2, 3))
    torch.testing.assert_close(sum(part.square().sum(1) for part in parts), total, rtol=1e-9, atol=0)
    torch.testing.assert_close(surrogate.closest(closest), closest, rtol=1e-9, atol=0)


def test_the_prediction_is_affine_in_the_parameters_in_which_the_solution_is_affine() -> None:
    problem = problems.parametric_problem((9,), ("dirichlet",), coefficient_fields=())
    affine_problem = problems.change_problem(problem, linear_in=("power",))
    for candidate, is_affine in ((affine_problem, True), (problem, False)):
        surrogate = build_perturbed("pod", candidate)
        assert isinstance(surrogate, POD)
        times = np.array([0.0, 0.5, 1.0])
        cells = surrogate.at_cells([(2,), (5,)])
        first, middle, last = (cells.predict({"power": power}, times) for power in (1.0, 1.5, 3.0))
        difference = float((middle - 0.75 * first - 0.25 * last).abs().max())
        assert (difference < 1e-9 * float(last.abs().max())) is is_affine


def test_cells_outside_the_grid_are_refused(surrogate: POD) -> None:
    with pytest.raises(UserError, match=r"The cell \(0, 99\) is not in the grid"):
        surrogate.at_cells([(0, 99)])


def test_functionals_warn_of_extrapolation() -> None:
    problem = problems.parametric_problem((9,), ("dirichlet",), coefficient_fields=())
    surrogate = build_perturbed("pod", problem)
    assert isinstance(surrogate, POD)
    with pytest.warns(ExtrapolationWarning, match="power=9 is outside"):
        surrogate.at_cells([(0,)]).predict({"power": 9.0}, np.array([0.5]))


def test_data_with_random_fields_are_refused() -> None:
    problem: Problem = problems.grid_problem((9,), ("periodic",))
    with pytest.raises(UserError, match="needs trajectories that are functions of the scalar parameters"):
        store.build("pod", OPTIONS, problem, "float64")
