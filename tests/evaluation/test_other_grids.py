"""A surrogate that allows any grid, on other grids than that of its training data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import simsurrogate
from pipeline import evaluate
from pipeline.data.dataset import Dataset
from pipeline.evaluation import schema
from pipeline.evaluation.trained_model import refuse_mismatch
from simsurrogate.errors import UserError
from simsurrogate.spec import Coarsening
from surrogates import store
from surrogates.contract import surrogate_class, surrogate_names
from tests.support import problems
from tests.support.in_process import run_command_line
from tests.support.trainings.training_cases import (
    generate_dataset,
    read_settings,
    tiny_arguments,
    train_model,
)

SAMPLES = "samples={train: 4, valid: 2, test: 4, test_extrapolation: 0, per_shard: 4}"
FAST = ("evaluation.worth=0", "evaluation.figures=0")


@pytest.fixture(scope="module")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    train_model(run, generate_dataset(run))
    return run


@pytest.fixture(scope="module")
def fine_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_dataset(tmp_path_factory.mktemp("fine"), "solver.resolution=72", SAMPLES)


@pytest.fixture(scope="module")
def coarse_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_dataset(
        tmp_path_factory.mktemp("coarse"), "solver.resolution=18", "storage.max_error=0.2", SAMPLES
    )


def evaluate_model(run: Path, dataset: Path, *overrides: str) -> Path:
    evaluate.run(read_settings(*tiny_arguments(run, dataset, *FAST, *overrides)))
    return run / "models" / "fno" / "evaluation"


def test_the_report_has_the_errors_on_other_grids(
    trained_run: Path, fine_dataset: Path, coarse_dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grids = f"evaluation.other_grids=[{fine_dataset},{coarse_dataset}]"
    folder = evaluate_model(trained_run, trained_run / "dataset", grids)
    output = capsys.readouterr().out
    metrics = schema.read(folder / "metrics.json")
    assert [grid.cells for grid in metrics.other_grids] == [[72], [18]]
    own_error = metrics.splits["test"].headline["surrogate"].rollout_end.median
    for grid in metrics.other_grids:
        # The same system, four other trajectories.
        assert grid.headline["surrogate"].rollout_end.median == pytest.approx(own_error, rel=0.5)
        assert grid.trajectories == 4
    report = (folder / "report.html").read_text()
    for cells in ("24", "72", "18"):
        assert f'<td class="number">{cells}</td>' in report
        assert cells in output.partition("on other grids")[2]
    # The list belongs to the evaluation: without it, the evaluation is made again.
    evaluate_model(trained_run, trained_run / "dataset")
    assert schema.read(folder / "metrics.json").other_grids == ()


def test_another_grid_is_evaluated_alone_and_loaded_in_python(trained_run: Path, fine_dataset: Path) -> None:
    folder = evaluate_model(trained_run, fine_dataset)
    assert schema.read(folder / "metrics.json").dataset == Dataset.open(fine_dataset).identity
    assert "trained on 24 cells; this data set has 72" in (folder / "report.html").read_text()
    surrogate = simsurrogate.load(trained_run, shape=(72,))
    trajectory = Dataset.open(fine_dataset).trajectory("test", 0)
    inputs = dict(trajectory.parameters)
    inputs |= dict(
        zip(surrogate.problem.spec.coefficient_channels, trajectory.coefficient_fields, strict=True)
    )
    prediction = surrogate.predict(trajectory.state[:1], inputs, trajectory.time).mean
    assert prediction.shape[-1] == 72


def test_the_keys_of_a_training_are_accepted_with_its_model(
    trained_run: Path, fine_dataset: Path, tmp_path: Path
) -> None:
    keys = (
        f"training.start_from={trained_run / 'models' / 'fno'}",
        f"training.other_grids=[{fine_dataset}]",
        "training.symmetries=all",
        "training.freeze=[network.lifting]",
        "training.steps=1",
    )
    dataset = trained_run / "dataset"
    train_model(tmp_path, dataset, *keys)
    assert run_command_line(evaluate.run, *tiny_arguments(tmp_path, dataset, *keys, *FAST)) == 0
    report = (tmp_path / "models" / "fno" / "evaluation" / "report.html").read_text()
    assert "<dt>lineage</dt><dd>started from the weights " in report
    other_key = "training.freeze=[network.projection]"
    assert run_command_line(evaluate.run, *tiny_arguments(tmp_path, dataset, *keys, other_key)) == 2


def test_data_sets_that_do_not_fit_are_refused(trained_run: Path, fine_dataset: Path, tmp_path: Path) -> None:
    own = trained_run / "dataset"
    unlike = generate_dataset(tmp_path / "unlike", "solver.resolution=36", "output.steps=3", SAMPLES)
    for dataset, message in (
        (own, r"has 24 cells, as .* has.*evaluate it with dataset="),
        (unlike, r"does not fit the data set .*\n  time_step"),
    ):
        with pytest.raises(UserError, match=message):
            evaluate_model(trained_run, own, f"evaluation.other_grids=[{dataset}]")
    with pytest.raises(UserError, match=r"does not predict on shape=\(8,\): .*modes=6.*8 cells resolve"):
        simsurrogate.load(trained_run, shape=(8,))
    for shape in ((0,), (24, 24), ()):
        with pytest.raises(UserError, match=r"is no grid of the axes x.*Pass shape=\(24,\)"):
            simsurrogate.load(trained_run, shape=shape)


def test_a_surrogate_of_its_own_grid_stays_on_it(tmp_path: Path) -> None:
    problem = problems.grid_problem((24,), ("periodic",))
    options = problems.options("unet")
    model = store.build("unet", options, problem, "float32")
    store.save(tmp_path, model, "unet", options, {})
    with pytest.raises(UserError, match=r"trained on 24 sites, and 72 are asked for"):
        store.load(tmp_path, shape=(72,))
    data = problems.grid_problem((72,), ("periodic",))
    with pytest.raises(UserError, match=r"shape: the model has \(24,\).*\n.*Only .*fno.* predict on another"):
        refuse_mismatch(model, data, tmp_path, tmp_path)


@pytest.mark.parametrize("name", [name for name in surrogate_names() if surrogate_class(name).any_grid])
def test_predictions_on_two_grids_agree_where_their_cells_coincide(name: str, tmp_path: Path) -> None:
    problem = problems.grid_problem((20, 17), ("periodic", "neumann"))
    options = problems.options(name)
    model = store.build(name, options, problem, "float64")
    # The initial weights of some networks predict no change.
    generator = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        weight.data += 0.1 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    store.save(tmp_path, model, name, options, {})
    predictions = []
    for factor in (1, 3):
        shape = [factor * size for size in problem.spec.shape]
        x, y = np.meshgrid(*[(np.arange(size) + 0.5) / size for size in shape], indexing="ij")
        wave = np.cos(2 * np.pi * x) * np.cos(np.pi * y)
        state = np.stack([300 + 10 * wave, 1e5 + 2e3 * wave])[None]
        inputs = {"conductivity": 2 + 0.5 * wave, "power": 2.0}
        times = np.array([0.0, problem.time_step])
        prediction = store.load(tmp_path, shape=shape).predict(state, inputs, times).mean
        predictions.append((prediction[0, 1] - prediction[0, 0]).numpy())
    # Three fine cells along an axis lie in a coarse cell, and the middle one has the same centre.
    difference = predictions[0] - predictions[1][:, 1::3, 1::3]
    assert np.linalg.norm(difference) < 0.02 * np.linalg.norm(predictions[0])


def test_other_grids_of_one_system_may_come_from_one_grid_of_the_solver(tmp_path: Path) -> None:
    problem = problems.grid_problem((20, 17), ("periodic", "neumann"))
    model = store.build("fno", problems.options("fno"), problem, "float32")
    coarse = problems.change_problem(problem, coarsening=Coarsening((2, 2), "cell_averages"))
    refuse_mismatch(model, coarse, tmp_path, tmp_path, is_other_grid=True)
    with pytest.raises(UserError, match="coarsening: the model has None"):
        refuse_mismatch(model, coarse, tmp_path, tmp_path)
