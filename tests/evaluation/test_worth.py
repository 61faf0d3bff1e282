"""The worth of a surrogate: measured times and errors, speed-up at equal error, and break-even."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mpi4py import MPI

from pipeline.config.build import build_recorded_solver
from pipeline.data.dataset import Dataset
from pipeline.evaluation import surrogate_times
from pipeline.evaluation.surrogate_times import SurrogateTimes
from pipeline.evaluation.worth import SettingTimes, Worth, measure_worth
from pipeline.evaluation.worth_result import WorthResult, worth_result
from pipeline.evaluation.worth_words import worth_verdict
from pipeline.problem import problem_of
from solvers.contract import DivergedError, Parameters, Solver, Trajectory, last_state
from surrogates.contract import Prediction
from tests.support import surrogate_cases
from tests.support.launching import require_success, run_stage
from tests.support.trainings.training_cases import TINY_TRAINING, generate_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return Dataset.open(generate_dataset(tmp_path_factory.mktemp("worth")))


@pytest.fixture(scope="module")
def solver(dataset: Dataset) -> Solver:
    return build_recorded_solver(dataset.configuration, {}, MPI.COMM_SELF)


@pytest.fixture(autouse=True)
def _few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure each time by at most five calls."""
    monkeypatch.setattr(surrogate_times, "MAX_CALLS", 5)


class SolverAsSurrogate:
    """The solver itself on the first test trajectories, computed `num_calls` times, plus a relative error."""

    def __init__(self, dataset: Dataset, solver: Solver, num_calls: int, error: float = 0.0):
        self.solver, self.num_calls, self.error = solver, num_calls, error
        trajectories = [dataset.trajectory("test", index) for index in range(3)]
        self.parameters = {
            trajectory.state[0].tobytes(): trajectory.parameters | trajectory.arrays
            for trajectory in trajectories
        }

    def predict(self, initial_state: np.ndarray, inputs: dict[str, Any], times: np.ndarray) -> Prediction:
        results = []
        for state in initial_state:
            trajectory = self.solver.prepare(self.parameters[state.tobytes()])
            for _ in range(self.num_calls):
                frames = np.array(list(trajectory.solve(times)))
            results.append(frames * (1 + self.error))
        return Prediction(torch.tensor(np.array(results)))


class FastSurrogate(SolverAsSurrogate):
    """The solver's frames, kept from the first call, so that a query takes no time."""

    def predict(self, initial_state: np.ndarray, inputs: dict[str, Any], times: np.ndarray) -> Prediction:
        key = initial_state.tobytes()
        if not hasattr(self, "known"):
            self.known: dict[bytes, Prediction] = {}
        if key not in self.known:
            self.known[key] = super().predict(initial_state, inputs, times)
        return self.known[key]


def result_of(surrogate: Any, solver: Solver, dataset: Dataset) -> WorthResult:
    worth = measure_worth(surrogate, solver, dataset, 3, "all")
    assert worth is not None
    return worth_result(worth, "a processor", 30.0, 60.0)


def test_a_surrogate_that_calls_the_solver_twice_is_worth_less_than_one(
    dataset: Dataset, solver: Solver
) -> None:
    result = result_of(SolverAsSurrogate(dataset, solver, num_calls=2), solver, dataset)
    assert result.speed_up.median < 0.9
    assert result.break_even.queries is None
    text = worth_verdict(result)
    assert "the solver is" in text
    assert "Do not use this surrogate to save time" in text


def test_a_fast_surrogate_is_compared_with_the_cheapest_setting_of_its_error(
    dataset: Dataset, solver: Solver
) -> None:
    result = result_of(FastSurrogate(dataset, solver, num_calls=1, error=0.03), solver, dataset)
    assert result.surrogate.error == pytest.approx(0.03, abs=0.01)
    accurate_seconds = [
        setting.seconds
        for setting in result.settings
        if setting.error is not None and setting.seconds is not None and setting.error <= 0.02
    ]
    assert result.solver_seconds < 1.5 * min(accurate_seconds)
    assert result.speed_up.min > 1
    assert result.break_even.queries == pytest.approx(
        90 / (result.solver_seconds - result.surrogate.query_seconds)
    )
    assert "are repaid after" in worth_verdict(result)


def test_errors_are_relative_to_the_reference_and_decrease_with_the_cells(
    dataset: Dataset, solver: Solver
) -> None:
    result = result_of(FastSurrogate(dataset, solver, num_calls=1), solver, dataset)
    errors = {setting.name: setting.error for setting in result.settings}
    reference = solver.reference_setting()
    assert reference is not None
    assert result.reference == reference.name == "72 cells, tolerance 1e-06"
    assert errors[reference.name] == 0
    # Settings that others beat are left out, so the best setting of each grid is compared.
    errors_of_cells = [
        min(
            error for name, error in errors.items() if error is not None and name.startswith(f"{cells} cells")
        )
        for cells in (6, 12, 24)
    ]
    assert errors_of_cells[0] > 2 * errors_of_cells[1] > 4 * errors_of_cells[2]
    trajectory = dataset.trajectory("test", 0)
    parameters = trajectory.parameters | trajectory.arrays
    truth = last_state(reference.solver, reference.solver.prepare(parameters), dataset.times)[0][1::3]
    own_error = np.linalg.norm(trajectory.state[-1, 0] - truth) / np.linalg.norm(truth)
    assert result.surrogate.error == pytest.approx(own_error, rel=1.0)


def test_the_speed_up_is_that_of_each_trajectory() -> None:
    names, seconds = ("fine", "coarse"), np.array([[4.0, 8.0, 6.0], [1.0, 1.0, np.inf]])
    errors = np.array([[0.01, 0.01, 0.01], [0.1, 0.02, np.inf]])
    settings = [
        SettingTimes(name, times, float(np.median(times)), error)
        for name, times, error in zip(names, seconds, errors, strict=True)
    ]
    reference = SettingTimes("reference", np.full(3, 100.0), 100.0, np.zeros(3))
    surrogate = SurrogateTimes(False, 0.5, 2.0, 4, 1.0, np.array([0.05, 0.05, 0.001]))
    result = worth_result(
        Worth(3, "all", (0, 1, 2), "reference", (*settings, reference), surrogate), "a processor", 10.0, 20.0
    )
    # Trajectory 0 needs the fine grid and trajectory 1 the coarse grid. Trajectory 2 needs the fine grid that
    # made the data, not the reference, although the surrogate happens to be closer to the reference.
    assert (result.speed_up.median, result.speed_up.min, result.speed_up.max) == (2.0, 0.5, 3.0)
    assert result.solver_seconds == 4.0
    assert result.break_even.queries == 15.0
    diverged = SurrogateTimes(False, 0.5, 2.0, 4, 1.0, np.full(3, np.inf))
    result = worth_result(
        Worth(3, "all", (0, 1, 2), "reference", tuple(settings), diverged), "a processor", 1.0, 1.0
    )
    assert result.speed_up.max == 3.0  # any setting is as accurate, if it does not diverge itself
    assert "because the rollout diverges" in worth_verdict(result)
    WorthResult.model_validate_json(result.model_dump_json())


class DivergingReference:
    """The reference solver, which diverges on the test trajectories at some positions."""

    def __init__(self, solver: Solver, dataset: Dataset, diverging: set[int]):
        self.solver = solver
        self.amplitudes = {dataset.trajectory("test", index).parameters["amplitude"] for index in diverging}

    def prepare(self, parameters: Parameters) -> Trajectory:
        trajectory = self.solver.prepare(parameters)
        if parameters["amplitude"] in self.amplitudes:
            object.__setattr__(trajectory, "solve", self.diverge)
        return trajectory

    def diverge(self, times: np.ndarray) -> Iterator[np.ndarray]:
        raise DivergedError("the solution diverges")


def test_trajectories_without_a_reference_solution_are_left_out(
    dataset: Dataset, solver: Solver, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = solver.reference_setting()
    assert setting is not None

    def measure(diverging: set[int]) -> Worth | None:
        reference: Any = DivergingReference(setting.solver, dataset, diverging)
        monkeypatch.setattr(type(solver), "reference_setting", lambda _: replace(setting, solver=reference))
        return measure_worth(FastSurrogate(dataset, solver, num_calls=1), solver, dataset, 3, "all")

    worth = measure({0})
    assert worth is not None
    assert worth.index == tuple(dataset.trajectory("test", position).index for position in (1, 2))
    assert {len(times.errors) for times in (*worth.settings, worth.surrogate)} == {2}
    assert measure({0, 1, 2}) is None


def test_compiled_predictions_are_measured_where_they_are_possible(
    dataset: Dataset, solver: Solver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(surrogate_times, "BATCH_SIZES", (1,))
    surrogate = surrogate_cases.build("fno", problem_of(dataset), "float32").eval()
    worth = measure_worth(surrogate, solver, dataset, 1, "all", compiled=True)
    assert worth is not None
    times = worth.surrogate
    assert times.compiled
    assert times.first_query_seconds > 100 * times.query_seconds
    assert "One compiled query costs" in worth_verdict(worth_result(worth, "a processor", 1.0, 1.0))
    surrogate.kernel = ""  # type: ignore[misc]
    worth = measure_worth(surrogate, solver, dataset, 1, "all", compiled=True)
    assert worth is not None
    assert not worth.surrogate.compiled
    assert "note: plain predictions are measured" in capsys.readouterr().out


def test_the_report_begins_with_the_worth_and_its_command_measures_it_again(
    dataset: Dataset, tmp_path: Path
) -> None:
    arguments = (f"run={tmp_path}", f"dataset={dataset.folder}", *TINY_TRAINING)
    require_success(run_stage("train", *arguments))
    output = require_success(
        run_stage("evaluate", *arguments, "evaluation.worth=2", "evaluation.figures=0")
    ).stdout
    assert "the solver is" in output
    evaluation = tmp_path / "models" / "fno" / "evaluation"
    metrics = json.loads((evaluation / "metrics.json").read_text())
    worth = metrics["worth"]
    assert worth["trajectories"] == metrics["splits"]["test"]["by_trajectory"]["index"][:2]
    assert 0 < worth["speed_up"]["min"] <= worth["speed_up"]["median"] <= worth["speed_up"]["max"] < 1
    assert worth["break_even"]["generation_seconds"] == pytest.approx(dataset.core_seconds)
    assert worth["break_even"]["training_seconds"] > 0.1
    page = (evaluation / "report.html").read_text()
    first_figure = page[page.index("<figcaption>") :]
    assert first_figure.startswith("<figcaption>Time and error of solver and surrogate")
    (command,) = re.findall(r"<code>(python -m pipeline\.worth .*?)</code>", page)
    result = require_success(run_stage("worth", *shlex.split(command)[3:]))
    assert "speed-up at equal error" in result.stdout
    assert "reference" in result.stdout
