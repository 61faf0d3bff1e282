"""The worth of a surrogate: its time and error next to those of its solver at cheaper settings.

Solver and surrogate compute all frames of the same held-out trajectories on one thread of the processor, and
the errors of both are relative to a reference solution. A solver at a fixed setting is no fair baseline
(McGreivy & Hakim 2024, doi:10.1038/s42256-024-00897-5).

Shape letters: S settings, B trajectories, T frames, C channels.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from pipeline.data.quantity_data import QuantityDataset
from pipeline.evaluation.cases import Cases, load
from pipeline.evaluation.last_quantities import LastQuantities
from pipeline.evaluation.metrics import CLOSE_ERROR, FieldNorm, field_norms, relative_l2
from pipeline.evaluation.surrogate_times import BATCH_SIZES, SurrogateTimes, measure_surrogate, timed
from pipeline.problem import problem_of
from pipeline.runs import progress
from solvers.batches import BatchedSolver
from solvers.contract import DivergedError, Setting

if TYPE_CHECKING:
    from pipeline.data.dataset import Dataset
    from simsurrogate.spec import QuantityOfInterest
    from solvers.contract import Parameters, Solver
    from surrogates.contract import Surrogate

#: A setting that takes longer than another one by this factor is left out, unless its error is smaller than
#: the other one's by the factor `CLOSE_ERROR`.
SLOW_RATIO = 3.0


@dataclass(frozen=True)
class SettingTimes:
    """The time and the error of one setting of the solver.

    Attributes:
        name: the setting in words.
        seconds: the time of each trajectory (B,), s; infinity for a trajectory that diverged.
        batch_seconds: the time of a trajectory in a batch, s; equal to the median of `seconds` for a solver
            without batches.
        errors: the relative L2 error of the last frame of each trajectory (B,).
    """

    name: str
    seconds: np.ndarray
    batch_seconds: float
    errors: np.ndarray


@dataclass(frozen=True)
class Worth:
    """The measurements of a surrogate and of its solver.

    Attributes:
        num_requested: the number of trajectories, with those whose reference solution diverged.
        frames: `all`, or `last` for the state at the end alone.
        index: the indices of the trajectories in the data set (B,).
        reference: the name of the reference setting.
        settings: the settings of the solver; the reference is the last.
        surrogate: the measurements of the surrogate.
    """

    num_requested: int
    frames: Literal["all", "last"]
    index: tuple[int, ...]
    reference: str
    settings: tuple[SettingTimes, ...]
    surrogate: SurrogateTimes


@dataclass(frozen=True)
class _Comparison:
    """The trajectories that solver and surrogate compute, with the reference solution.

    Attributes:
        cases: the trajectories.
        quantities: the quantities of interest that the surrogate learns; empty for a surrogate of fields.
        norms: the norm of each field.
        truth: the last frames of the reference solution (B, 1, C, *sites).
    """

    cases: Cases
    quantities: Sequence[QuantityOfInterest]
    norms: Sequence[FieldNorm]
    truth: np.ndarray

    def errors(self, frames: np.ndarray, rows: slice = slice(None)) -> np.ndarray:
        """Return the relative L2 error of each last frame (B, 1, C, *sites), mean over the fields."""
        errors: np.ndarray = relative_l2(frames[rows], self.truth[rows], self.norms)[:, 0].mean(axis=1)
        return errors


def measure_worth(
    surrogate: Surrogate,
    solver: Solver,
    dataset: Dataset,
    num_trajectories: int,
    frames: Literal["all", "last"],
    *,
    compiled: bool = False,
) -> Worth | None:
    """Return the times and errors on the first trajectories of the split `test`.

    `solver` is the solver of the data set on this rank alone. Only this process should be at work. With
    `frames` = `last`, solver and surrogate compute the state at the end without the frames before it. With
    `compiled`, the predictions are compiled if the surrogate and the machine allow it.
    Trajectories whose reference solution diverges are left out. The result is None if none is left.
    """
    quantities = dataset.quantities if isinstance(dataset, QuantityDataset) else ()

    def cases_at(positions: Iterable[int]) -> Cases:
        cases = load(dataset, "test", positions)
        only_last = frames == "last" and not quantities
        return replace(cases, time=cases.time[[0, -1]]) if only_last else cases

    own_setting = Setting("the data's setting", solver)
    reference = solver.reference_setting() or own_setting
    settings = list(solver.cheaper_settings()) or [own_setting]
    with _one_thread():
        solutions = _solve_reference(reference, cases_at(range(num_trajectories)), quantities)
        if not solutions:
            return None
        cases = cases_at(solutions)
        states, seconds = zip(*solutions.values(), strict=True)
        reference_times = SettingTimes(
            reference.name, np.array(seconds), statistics.median(seconds), np.zeros(len(seconds))
        )
        norms = field_norms(dataset.spec, problem_of(dataset).statistics)
        comparison = _Comparison(cases, quantities, norms, truth=np.array(states)[:, None])
        setting_times: list[SettingTimes] = []
        # The cheap settings are the last ones. The first one, that of the data, is not left out.
        for setting in progress.bar(settings[:0:-1], "settings of the solver", rank=0):
            times = _measure_setting(setting, comparison, others=setting_times)
            setting_times += [times] if times else []
        own_times = _measure_setting(settings[0], comparison)
        assert own_times is not None
        all_times = (own_times, *reversed(setting_times), reference_times)
        surrogate_times = measure_surrogate(surrogate, cases, comparison.errors, compiled=compiled)
    return Worth(num_trajectories, frames, cases.index, reference.name, all_times, surrogate_times)


@contextmanager
def _one_thread() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(num_threads)


def _solve_reference(
    reference: Setting, cases: Cases, quantities: Sequence[QuantityOfInterest]
) -> dict[int, tuple[np.ndarray, float]]:
    """Return the last frame (C, *sites) of each reference solution and its time (s), by the row in `cases`.

    A solution that diverges is left out.
    """
    solutions: dict[int, tuple[np.ndarray, float]] = {}
    for row, parameters in enumerate(progress.bar(cases.solver_parameters, "reference solutions", rank=0)):
        solve = _query(reference, parameters, cases.time, quantities)
        with suppress(DivergedError):
            if not solutions:
                _compile(reference, parameters, cases.time, quantities)
            start = time.perf_counter()
            solutions[row] = solve(), time.perf_counter() - start
    return solutions


def _measure_setting(
    setting: Setting, comparison: _Comparison, *, others: Sequence[SettingTimes] = ()
) -> SettingTimes | None:
    """Return the times and the errors of a setting.

    The result is None if one of the `others` has about the same error in a fraction of the time on the first
    trajectory, or a smaller one.
    """
    cases, quantities, truth = comparison.cases, comparison.quantities, comparison.truth
    seconds, frames, errors = np.full(len(truth), np.inf), np.full_like(truth, np.nan), np.empty(len(truth))
    for row, parameters in enumerate(cases.solver_parameters):
        solve = _query(setting, parameters, cases.time, quantities)
        with suppress(DivergedError):
            if row == 0:
                _compile(setting, parameters, cases.time, quantities)
            # One call shows whether a setting is far too slow.
            frames[row, 0], seconds[row] = timed(solve, 0.0) if row == 0 else timed(solve)
        errors[[row]] = comparison.errors(frames, slice(row, row + 1))
        if row > 0:
            continue
        if any(
            SLOW_RATIO * other.seconds[0] < seconds[0] and not errors[0] < CLOSE_ERROR * other.errors[0]
            for other in others
        ):
            return None
        if np.isfinite(seconds[0]):
            _, seconds[0] = timed(solve)
    batch_seconds = float(np.median(seconds))
    if isinstance(setting.solver, BatchedSolver) and not quantities:
        batch = [*cases.solver_parameters] * (BATCH_SIZES[-1] // len(truth) or 1)
        solver = setting.solver
        batch_seconds = timed(lambda: solver.solve_batch(batch, cases.time))[1] / len(batch)
    return SettingTimes(setting.name, seconds, batch_seconds, errors)


def _compile(
    setting: Setting, parameters: Parameters, times: np.ndarray, quantities: Sequence[QuantityOfInterest]
) -> None:
    """Compile the kernels of the solver by a solution, up to the first frame unless it is a batch."""
    is_batched = isinstance(setting.solver, BatchedSolver)
    _query(setting, parameters, times if is_batched else times[:2], quantities)()


def _query(
    setting: Setting, parameters: Parameters, times: np.ndarray, quantities: Sequence[QuantityOfInterest]
) -> Callable[[], np.ndarray]:
    """Return a function that computes all frames and returns the last one on the sites of the data.

    With `quantities`, the function returns the quantities of the last frame.

    The fields of the inputs are made here, outside the measured time, because a surrogate receives them, too.
    A solver of batches makes them again, in its compiled call.
    """
    solver = setting.solver
    if quantities:
        last = LastQuantities(solver, quantities)
        return partial(last.of, solver.prepare(parameters), times)
    if isinstance(solver, BatchedSolver):

        def solve_batch() -> np.ndarray:
            batch = solver.solve_batch([parameters], times)
            if batch.failures[0] is not None:
                raise DivergedError(batch.failures[0])
            return setting.to_sites(batch.states[0, -1])

        return solve_batch
    trajectory = solver.prepare(parameters)
    return lambda: [setting.to_sites(state) for state in trajectory.solve(times)][-1]
