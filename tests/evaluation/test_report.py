"""Figures, verdicts and commands of the report, compared with the computed numbers."""

import json

import numpy as np
import pytest
import xarray
from matplotlib.figure import Figure

from pipeline.evaluation import schema
from pipeline.evaluation.metrics import summary
from pipeline.evaluation.report.context import chosen_trajectories
from pipeline.evaluation.results import invariant_result
from pipeline.evaluation.schema import (
    ByTrajectory,
    Headline,
    InvariantResult,
    Metrics,
    SeriesSummary,
    SplitResult,
    Summary,
)
from pipeline.evaluation.words import comparison, percent, verdict
from pipeline.plots import saving
from pipeline.plots.comparison import Channel, draw_comparison
from pipeline.plots.curves import draw_errors, draw_invariant, draw_training, read_log
from pipeline.plots.labels import even_frames
from pipeline.plots.particles import draw_distances, draw_plane
from pipeline.runs import provenance
from simsurrogate.errors import UserError
from simsurrogate.spec import Axis, Quantity

TIMES = np.linspace(0, 0.1, 11)


def periodic_axis(name: str, size: int, upper: float = 1.0) -> Axis:
    return Axis(name, "m", size, 0.0, upper, "periodic")


def random_states(*sites: int) -> tuple[np.ndarray, np.ndarray]:
    truth = 300 + np.random.default_rng(0).normal(size=(11, *sites))
    error = np.linspace(0, 0.5, 11).reshape(-1, *[1] * len(sites))
    return truth, truth + error * np.random.default_rng(1).normal(size=truth.shape)


def test_one_dimension_is_drawn_as_curves(tmp_path):
    truth, prediction = random_states(32)
    channel = Channel("temperature", "K", (periodic_axis("x", 32, 2.0),))
    figure = draw_comparison(truth, prediction, TIMES, channel, "title")
    figure.savefig(tmp_path / "curves.png")
    field_panel, difference_panel = figure.axes[4], figure.axes[9]
    np.testing.assert_array_equal(field_panel.lines[0].get_ydata(), truth[-1])
    np.testing.assert_array_equal(field_panel.lines[1].get_ydata(), prediction[-1])
    np.testing.assert_allclose(field_panel.lines[0].get_xdata(), (np.arange(32) + 0.5) / 16)
    np.testing.assert_allclose(difference_panel.lines[1].get_ydata(), prediction[-1] - truth[-1])
    assert figure.axes[0].get_ylabel() == "temperature (K)"
    assert difference_panel.get_xlabel() == "x (m)"
    assert field_panel.get_title() == "t = 0.1 s"


@pytest.mark.parametrize("sites", [(24, 16), (24, 16, 6)])
def test_two_dimensions_are_drawn_as_images_and_three_as_slices(tmp_path, sites):
    truth, prediction = random_states(*sites)
    axes = tuple(periodic_axis(name, size, 1.5) for name, size in zip("xyz", sites, strict=False))
    figure = draw_comparison(truth, prediction, TIMES, Channel("u_x", "m/s", axes), "speed")
    figure.savefig(tmp_path / "images.png")
    images = [panel.images[0] for panel in figure.axes if panel.images][:15]
    if len(sites) == 3:
        truth, prediction = truth[..., 3], prediction[..., 3]
        assert "slice at z = 0.875 m" in figure.get_suptitle()
    # The x axis points to the right, and the y axis points upwards.
    np.testing.assert_array_equal(images[4].get_array(), truth[-1].T)
    np.testing.assert_array_equal(images[9].get_array(), prediction[-1].T)
    np.testing.assert_allclose(images[14].get_array(), (prediction - truth)[-1].T)
    assert images[0].get_extent() == [0.0, 1.5, 0.0, 1.5]
    assert len({image.get_clim() for image in images[:10]}) == 1
    low, high = images[14].get_clim()
    assert low == -high
    labels = [panel.get_ylabel() for panel in figure.axes]
    assert labels.count("u x (m/s)") == 2


def test_a_diverged_prediction_is_drawn_on_the_scale_of_the_truth(tmp_path):
    truth, prediction = random_states(8, 8)
    prediction[5:] = np.nan
    prediction[4] = np.inf
    figure = draw_comparison(
        truth, prediction, TIMES, Channel("u", "1", (periodic_axis("x", 8), periodic_axis("y", 8))), ""
    )
    figure.savefig(tmp_path / "diverged.png")
    low, high = figure.axes[0].images[0].get_clim()
    assert 290 < low < high < 310


@pytest.mark.parametrize("dimension", [2, 3])
def test_few_bodies_are_drawn_as_paths_with_their_distance_from_the_truth(tmp_path, dimension):
    truth, prediction = random_states(2 * dimension, 2)
    prediction[0] = truth[0]
    (path_panel,) = draw_plane(truth, prediction, "m", "two bodies").axes
    distances = draw_distances(truth, prediction, TIMES, "m", "two bodies")
    distances.savefig(tmp_path / "distances.svg")
    (distance_panel,) = distances.axes
    for body in range(2):
        for line, positions in zip(
            path_panel.lines[4 * body : 4 * body + 4 : 2], (truth, prediction), strict=True
        ):
            np.testing.assert_array_equal(np.transpose(line.get_data()), positions[:, :2, body])
        displacements = prediction[1:, :dimension, body] - truth[1:, :dimension, body]
        np.testing.assert_allclose(
            distance_panel.lines[body].get_ydata(), np.linalg.norm(displacements, axis=1)
        )
        np.testing.assert_array_equal(distance_panel.lines[body].get_xdata(), TIMES[1:])
    assert path_panel.get_xlabel() == "x (m)"
    assert path_panel.get_aspect() == 1


def test_many_bodies_are_drawn_as_dots_on_the_scale_of_the_truth(tmp_path):
    truth, prediction = random_states(6, 40)
    prediction[-1, 0, 0] = np.inf
    prediction[-1, 1, 1] = 1e9
    figure = draw_plane(truth, prediction, "m", "a cluster")
    figure.savefig(tmp_path / "bodies.svg")
    (path_panel,) = figure.axes
    (distance_panel,) = draw_distances(truth, prediction, TIMES, "m", "a cluster").axes
    np.testing.assert_array_equal(path_panel.lines[0].get_data(), truth[-1, :2])
    np.testing.assert_array_equal(path_panel.lines[1].get_data(), prediction[-1, :2])
    assert 290 < path_panel.get_ylim()[0] < path_panel.get_ylim()[1] < 310
    assert len(distance_panel.lines) == 2


def invariant_of(truth: np.ndarray, prediction: np.ndarray) -> InvariantResult:
    values = np.stack([truth, prediction], axis=1)
    coordinates = {"source": ["truth", "prediction"]}
    return invariant_result(xarray.DataArray(values, coordinates, ("trajectory", "source", "time")))


def test_errors_of_invariants_are_drawn_next_to_their_size(tmp_path):
    truth = np.array([[1.0, 1.0, 1.0], [3.0, 2.0, 3.0], [2.0, 2.0, 2.0]])
    prediction = truth + np.array([[0.0, 0.5, 1.0], [0.0, -1.0, 3.0], [0.0, 2.0, np.nan]])
    energy = invariant_of(truth, prediction)
    assert energy.size == 2.0
    assert energy.error.median == [0.0, 1.0, 3.0]
    assert energy.error.max == [0.0, 2.0, None]
    figure = draw_invariant(energy, [0.0, 0.5, 1.0], Quantity("energy", "kg m^2/s^2", ""))
    figure.savefig(tmp_path / "invariants.png")
    (panel,) = figure.axes
    np.testing.assert_array_equal(panel.lines[0].get_ydata(), [np.nan, 1.0, 3.0])
    assert set(panel.lines[1].get_ydata()) == {2.0}
    assert panel.get_title() == "energy"
    assert panel.get_ylabel() == "error (kg m²/s²)"


def test_an_invariant_that_is_zero_throughout_is_labelled(tmp_path):
    zero_invariant = invariant_of(np.zeros((3, 3)), np.zeros((3, 3)))
    quantity = Quantity("momentum", "kg m/s", "")
    figure = draw_invariant(zero_invariant, [0.0, 0.5, 1.0], quantity)
    figure.savefig(tmp_path / "invariants.png")
    assert figure.axes[0].texts[0].get_text() == "0 in truth and prediction"


@pytest.mark.parametrize(
    ("num_frames", "frames"),
    [
        (2, [1]),
        (3, [1, 2]),
        (5, [1, 2, 3, 4]),
        (8, [1, 3, 5, 7]),
        (11, [2, 4, 6, 8, 10]),
        (14, [1, 4, 7, 10, 13]),
        (101, [20, 40, 60, 80, 100]),
    ],
)
def test_evenly_spaced_frames_are_shown_up_to_the_last_one(num_frames, frames):
    assert even_frames(num_frames, 5) == frames


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 9, 20])
def test_figures_show_the_median_the_worst_and_the_best(count):
    errors = [0.5, 0.1, None, 0.3, 0.2, 0.4, 0.8, 0.6, 0.7]
    choices = chosen_trajectories(make_metrics([0.1, 0.2], errors).splits["test"], count)
    indices = [index for index, _ in choices]
    assert len(indices) == len(set(indices)) == min(count, 9)
    assert choices[:3] == [(0, "median of 9"), (2, "worst of 9"), (1, "best of 9")][:count]


def make_metrics(
    surrogate: list[float | None], by_trajectory: list[float | None] | None = None, num_vanished: int = 0
) -> Metrics:
    """Return the results on a split with one field `u` and three frames.

    `num_vanished` of the three trajectories are below the floor at the last frame.
    """
    predictions = {
        "surrogate": surrogate, "persistence": [0.4, 0.8], "mean": [1.0, 1.0], "linear": [0.05, 0.1]
    }  # fmt: skip
    series, headline = {}, {}
    for name, errors in predictions.items():
        values = np.array([[np.inf if error is None else error for error in errors]] * 3)
        series[name] = SeriesSummary.of(summary(values))
        last_summary = Summary.of(summary(values[:, -1]))
        headline[name] = Headline(one_step=last_summary, rollout_end=last_summary)
    final_errors = by_trajectory or [surrogate[-1]] * 3
    split_result = SplitResult(
        trajectories=3,
        headline=headline,
        by_trajectory=ByTrajectory(index=list(range(len(final_errors))), rollout_end=final_errors),
        below_floor={"relative_l2": {"u": [0, num_vanished]}, "vrmse": {"u": [0, num_vanished]}},
        errors={
            name: {mode: {"relative_l2": {"u": series[name]}} for mode in ("one_step", "rollout")}
            for name in series
        },
        invariants={},
    )
    return Metrics(
        identity="", model="", surrogate="fno", dataset="", fields=["u"], time=[0.0, 0.5, 1.0],
        definitions={}, splits={"test": split_result},
    )  # fmt: skip


def test_error_curves_omit_values_that_a_logarithm_cannot_show(tmp_path):
    result = make_metrics([0.0, None])
    errors = {
        name: by_mode["rollout"]["relative_l2"]["u"] for name, by_mode in result.splits["test"].errors.items()
    }
    figure = draw_errors(errors, result.time[1:], {"surrogate": "fno"}, "u", ([None, 0.01], [None, 0.03]))
    figure.savefig(tmp_path / "errors.svg")
    surrogate, persistence, *_, data = figure.axes[0].lines
    assert np.isnan(surrogate.get_ydata()).all()
    assert surrogate.get_label() == "fno"
    np.testing.assert_array_equal(persistence.get_ydata(), [0.4, 0.8])
    np.testing.assert_array_equal(data.get_ydata(), [np.nan, 0.01])
    assert data.get_label() == "error of the data"
    assert figure.axes[0].get_ylim()[0] < 0.01


def test_the_verdict_states_the_factor_and_its_direction():
    assert "error of 2\N{NO-BREAK SPACE}%" in verdict(make_metrics([0.01, 0.02]), "test")
    assert "40 times smaller error than persistence" in verdict(make_metrics([0.01, 0.02]), "test")
    assert "2 times larger error than persistence" in verdict(make_metrics([0.01, 1.6]), "test")
    assert "5 times smaller error than the linear solution" in verdict(make_metrics([0.01, 0.02]), "test")
    assert "diverges" in verdict(make_metrics([0.01, None]), "test")
    assert "ends with a relative L2 error of" in verdict(make_metrics([0.01, 0.02], num_vanished=1), "test")
    vanished_text = verdict(make_metrics([0.01, 0.02], num_vanished=2), "test")
    assert "is not meaningful: the truth is below 0.01 standard deviations" in vanished_text
    assert "(u in 2 of 3 trajectories)" in vanished_text
    assert "%" not in vanished_text
    assert "diverges" in verdict(make_metrics([0.01, None], num_vanished=2), "test")
    assert comparison(1.02, 1.0) == "2\N{NO-BREAK SPACE}% larger error than"
    assert comparison(0.5, 0.5) == "the same error as"
    assert comparison(0.0, 0.5) == "no error, unlike"
    assert comparison(0.1, None) == "not comparable with"
    assert percent(12.345).split() == ["1234", "%"]


def test_metrics_are_written_and_read_without_loss(tmp_path):
    results = make_metrics([0.1, None])
    schema.write(tmp_path / "metrics.json", results)
    assert schema.read(tmp_path / "metrics.json") == results
    (tmp_path / "metrics.json").write_text('{"identity": "of an older release"}')
    with pytest.raises(UserError, match=r"is not a metrics of this release: .*python -m pipeline.evaluate"):
        schema.read(tmp_path / "metrics.json")


def test_a_figure_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path, path_existed = tmp_path / "errors.png", []
    savefig = Figure.savefig

    def recording_savefig(figure, *arguments, **options):
        savefig(figure, *arguments, **options)
        path_existed.append(path.exists())

    monkeypatch.setattr(Figure, "savefig", recording_savefig)
    saving.save(Figure(), path)
    assert path_existed == [False]
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]


def test_a_training_log_with_gaps_is_drawn(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("step,train_loss,valid_error\n1,1e-1,\n2,1e-2,0.5\n")
    log = read_log(path)
    np.testing.assert_array_equal(log["valid_error"], [np.nan, 0.5])
    figure = draw_training(log)
    figure.savefig(tmp_path / "training.png")
    assert [line.get_label() for line in figure.axes[0].lines] == ["train loss", "valid error"]


def test_the_commands_of_a_model_can_be_pasted_into_a_shell(tmp_path):
    (tmp_path / "records").mkdir()

    def write_record(stage, attempt, name, outcome, *overrides, ranks=1, **metadata):
        record = {
            "started": "2026-01-01T00:00:00+00:00",
            "versions": {},
            "mpi_library": None,
            "command": [f"/somewhere/{stage}.py", *overrides],
            "ranks": ranks,
            "outcome": outcome,
            "configuration": {"model": name},
            **metadata,
        }
        (tmp_path / "records" / f"{stage}-{attempt:03d}.json").write_text(json.dumps(record))

    (tmp_path / "records" / "generate-777.json").write_text("[]")
    write_record("generate", 0, "fno", "complete", "run=it's here", ranks=4)
    write_record("generate", 1, "fno", "complete", "run=it's here", ranks=2, skipped=True)
    write_record("train", 0, "fno", "complete", "surrogate=fno")
    write_record("train", 1, "fno", "failed", "surrogate.width=x")
    write_record("train", 2, "unet", "complete", "surrogate=unet")
    write_record("train", 3, "fno", "complete", "training.device=cpu", skipped=True)
    write_record("train", 4, "fno", "running", "training.device=cuda")
    write_record("evaluate", 0, "fno", "complete", "evaluation.figures=1")
    write_record("evaluate", 1, "fno", "running", "surrogate=fno")
    assert provenance.commands(tmp_path, tmp_path, "fno") == [
        """mpirun -n 4 python -m pipeline.generate 'run=it'"'"'s here'""",
        "python -m pipeline.train surrogate=fno",
        "python -m pipeline.evaluate surrogate=fno",
    ]
