"""Intervals in the evaluate stage: measured coverage, files next to the model, data without a split."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest

import simsurrogate
from pipeline import evaluate, generate, train, validate
from pipeline.evaluation import cases, schema
from pipeline.evaluation.report.confidence_part import confidence_part
from pipeline.evaluation.report.intervals_part import intervals_part
from pipeline.evaluation.trained_model import is_trained_on
from pipeline.runs.folder import RunFolder
from pipeline.training import fit
from simsurrogate.errors import UserError
from tests.support.trainings.training_cases import TINY_TRAINING, no_curves, read_settings

OVERRIDES = (
    "solver.extent=[1.0]",
    "solver.resolution=24",
    "storage.max_error=0.1",
    "output={steps: 4, duration: 0.04}",
    "quantities=[{name: hottest, of: temperature, reduce: max}, {name: mean, of: temperature, reduce: mean}]",
    *TINY_TRAINING,
    "evaluation.figures=0",
    "evaluation.worth=0",
    "evaluation.batch_size=5",
)
SAMPLES = "samples={train: 12, valid: 4, test: 8, test_extrapolation: 4, per_shard: 12}"
CALIBRATION = "samples.calibration=9"


def run_stages(folder: Path, *overrides: str, stages=(generate, validate, train, evaluate)) -> RunFolder:
    settings = read_settings(f"run={folder}", *OVERRIDES, SAMPLES, *overrides)
    with patch.object(fit, "draw_curves", no_curves):
        for stage in stages:
            stage.run(settings)
    return RunFolder.of(settings)


@pytest.fixture(scope="module")
def bare_run(tmp_path_factory) -> Path:
    """Return a run whose data set has no calibration split, with an evaluated model."""
    run = tmp_path_factory.mktemp("intervals") / "run"
    run_stages(run)
    return run


@pytest.fixture(scope="module")
def calibrated_run(bare_run: Path, tmp_path_factory) -> Path:
    """Return the run after its data set grew by a calibration split, with the same model."""
    run = Path(shutil.copytree(bare_run, tmp_path_factory.mktemp("calibrated") / "run"))
    run_stages(run, CALIBRATION, stages=(generate, validate, evaluate))
    return run


def metrics_of(run: Path) -> schema.Metrics:
    return schema.read(run / "models" / "fno" / "evaluation" / "metrics.json")


def test_data_without_a_calibration_split_say_what_to_type_and_the_rest_goes_on(bare_run: Path) -> None:
    metrics = metrics_of(bare_run)
    assert "no calibration split" in metrics.intervals.reason
    assert "samples.calibration=40" in metrics.intervals.reason
    assert metrics.intervals.splits == {}
    assert metrics.confidence.fitted_on == {"valid": 4, "calibration": 0}
    assert metrics.confidence.splits["test"].alarm is not None
    assert metrics.attribution.completeness_error < 1e-3
    part = intervals_part(metrics, bare_run)
    assert part.sentences == [f"There are no intervals: {metrics.intervals.reason}."]
    surrogate = simsurrogate.load(bare_run)
    test = cases.load(simsurrogate.open_dataset(bare_run), "test", [0])
    with pytest.raises(UserError, match=r"needs a calibration split.*samples.calibration=40"):
        surrogate.predict(test.state[:, 0], test.inputs, test.time, interval=0.5)
    manifest = (bare_run / "dataset" / "manifest.json").read_text()
    assert "calibration" not in manifest


def test_the_calibration_split_adds_files_and_changes_none(bare_run: Path, calibrated_run: Path) -> None:
    old, new = (
        {path.relative_to(run): path.read_bytes() for path in (run / "dataset" / "data").rglob("*.hdf5")}
        for run in (bare_run, calibrated_run)
    )
    assert {path: content for path, content in new.items() if path in old} == old
    assert {path.parent.name for path in new.keys() - old.keys()} == {"calibration"}
    assert simsurrogate.open_dataset(calibrated_run).num_trajectories("calibration") == 9


def test_the_coverage_is_that_of_the_intervals_of_predict(calibrated_run: Path) -> None:
    dataset, surrogate = simsurrogate.open_dataset(calibrated_run), simsurrogate.load(calibrated_run)
    result = metrics_of(calibrated_run).intervals
    assert (result.trajectories, result.scale_trajectories, result.scale) == (9, 4, "residual scale")
    for split, count in (("test", 8), ("test_extrapolation", 4)):
        held_out = cases.load(dataset, split, range(count))
        coverage = result.splits[split]
        for level in (0.5, 0.8, 0.9):
            arguments = (held_out.state[:, 0], held_out.inputs, held_out.time)
            marginal, joint = (
                quiet(surrogate.predict, *arguments, interval=level, interval_kind=kind)
                for kind in ("marginal", "joint")
            )
            truth = held_out.state
            is_inside = (truth >= marginal.lower.numpy()) & (truth <= marginal.upper.numpy())
            entry = coverage.at(level)
            # A float32 prediction may put a value on the other side of an end.
            assert entry.marginal == pytest.approx(is_inside[:, 1:].mean(), abs=0.005)
            assert entry.marginal_end == pytest.approx(is_inside[:, -1].mean(), abs=0.01)
            whole = (truth >= joint.lower.numpy()) & (truth <= joint.upper.numpy())
            assert entry.joint == pytest.approx(whole[:, 1:].all((1, 2, 3)).mean())
            width = (marginal.upper - marginal.lower)[:, 1:].mean() / surrogate.problem.statistics.std[0]
            assert entry.marginal_width == pytest.approx(float(width), rel=1e-4)
            hottest = dataset.columns(split, ["scalars/hottest"])["scalars/hottest"][:, 1:]
            predicted = marginal.quantities["hottest"]
            ends = predicted.lower.numpy()[:, 1:], predicted.upper.numpy()[:, 1:]
            covered = (hottest >= ends[0]) & (hottest <= ends[1])
            own = next(item for item in coverage.quantities["hottest"] if item.nominal == level)
            assert own.marginal == pytest.approx(covered.mean(), abs=0.005)
        assert coverage.at(0.95).marginal is None
    confidence = metrics_of(calibrated_run).confidence
    expected = marginal.predicted_error[:, -1].tolist()
    assert confidence.splits["test_extrapolation"].predicted_error == pytest.approx(expected, rel=1e-3)
    assert confidence.splits["test_extrapolation"].outside_range == 1
    assert confidence.splits["test"].outside_range == 0


def quiet(function, *arguments, **options):
    """Call a function without warnings of extrapolation."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, **options)


def test_the_parts_of_the_report_have_sentences_tables_and_pictures(
    calibrated_run: Path, tmp_path: Path
) -> None:
    metrics = metrics_of(calibrated_run)
    parts = [intervals_part(metrics, tmp_path), confidence_part(metrics, tmp_path)]
    assert parts[0].sentences[0].startswith("On 8 held-out trajectories, the 90 % intervals hold ")
    assert "9 calibration trajectories" in parts[0].sentences[-1]
    assert "expected error" in parts[1].sentences[0]
    for part in parts:
        assert all(b"<svg" in figure.path.read_bytes() for figure in part.figures)
        assert part.figures
        for table in part.tables:
            assert all(len(row) == len(table.headings) for row in table.rows)
    assert len(parts[0].tables) == 2 * (1 + 2)


def test_a_lost_calibration_is_measured_again(
    calibrated_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(calibrated_run, tmp_path / "run"))
    run_stages(run, CALIBRATION, stages=(evaluate,))
    assert "nothing to do" in capsys.readouterr().out
    calibration = run / "models" / "fno" / "calibration.json"
    content = calibration.read_bytes()
    calibration.unlink()
    run_stages(run, CALIBRATION, stages=(evaluate,))
    output = capsys.readouterr().out
    assert "nothing to do" not in output
    assert "On 8 held-out trajectories, the 90 % intervals hold " in output
    assert calibration.read_bytes() == content


def test_other_data_are_measured_with_the_calibration_of_the_training_data(
    calibrated_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other data have another range of a parameter, longer trajectories and other quantities."""
    run = Path(shutil.copytree(calibrated_run, tmp_path / "run"))
    model = run / "models" / "fno"
    own_card, calibration = (model / "README.md").read_text(), (model / "calibration.json").read_bytes()
    assert "error of the data themselves, train: " in own_card
    assert "cost: data " in own_card
    other = (
        f"dataset={tmp_path / 'other' / 'dataset'}",
        "solver.diffusivity.range=[1.0,2.0]",
        "output={steps: 6, duration: 0.06}",
        "quantities=[]",
        "samples={train: 4, valid: 2, test: 8, test_extrapolation: 0, per_shard: 4}",
    )
    run_stages(tmp_path / "other", *other, stages=(generate, validate))
    run_stages(run, *other, stages=(evaluate,))
    assert (model / "calibration.json").read_bytes() == calibration
    metrics = metrics_of(run)
    assert metrics.intervals.other_data
    assert (metrics.intervals.trajectories, metrics.intervals.duration) == (9, pytest.approx(0.04))
    assert metrics.intervals.splits["test"].at(0.9).marginal is not None
    assert metrics.intervals.splits["test"].quantities == {}
    # By the other training inputs, at most one of 14 held-out trajectories would be unusual.
    assert metrics.confidence.splits["test"].alarm == 1
    assert metrics.confidence.splits["test"].predicted_error == [None] * 8
    card = (model / "README.md").read_text()
    assert "error of the data themselves" not in card
    assert "cost: training " in card
    capsys.readouterr()
    run_stages(run, *other, stages=(evaluate,))
    assert "nothing to do" in capsys.readouterr().out
    (model / "calibration.json").unlink()
    run_stages(run, *other, stages=(evaluate,))
    output = " ".join(capsys.readouterr().out.split())
    assert "There are no intervals: neither intervals nor the guard apply here" in output
    assert not (model / "calibration.json").exists()
    metrics = metrics_of(run)
    assert (metrics.intervals.splits, metrics.confidence.splits["test"].alarm) == ({}, None)
    assert metrics.confidence.splits["test"].outside_range == 1
    assert (model / "evaluation" / "report.html").is_file()


@pytest.mark.parametrize(
    ("identity", "recorded", "expected"),
    [
        ("a", {}, True),
        ("b", {}, False),
        ("b", {"data": {"shards": "s", "trajectories": {"train": 4}}}, True),
        ("b", {"data": {"shards": "s", "trajectories": {"train": 9}}}, False),
        ("b", {"data": {"shards": "other", "trajectories": {"train": 4}}}, False),
    ],
)
def test_the_data_of_a_training_may_only_grow(
    identity: str, recorded: dict[str, object], expected: bool
) -> None:
    size = {"shards": "s", "trajectories": {"train": 8, "calibration": 9}}
    dataset = SimpleNamespace(identity=identity, size=size)
    assert is_trained_on({"dataset": "a", **recorded}, dataset) == expected


def test_the_calibration_does_not_depend_on_the_batches(calibrated_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(calibrated_run, tmp_path / "run"))
    run_stages(run, CALIBRATION, "evaluation.batch_size=2", stages=(evaluate,))
    first, second = (metrics_of(folder).intervals.splits["test"] for folder in (calibrated_run, run))
    for entry, other in zip(first.fields[:3], second.fields[:3], strict=True):
        assert entry.marginal_width == pytest.approx(other.marginal_width, rel=1e-4)
        assert entry.joint == other.joint
