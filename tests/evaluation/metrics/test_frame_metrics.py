"""The choice of metrics for a spec, and metrics of trajectories as sections of metrics.json."""

import json
import math

import numpy as np
import pytest
import scoringrules
import torch
import xarray
from scipy import optimize, stats

from pipeline.evaluation.cases import Cases
from pipeline.evaluation.metrics import FieldNorm, pointwise
from pipeline.evaluation.metrics.batch import BatchMetrics, measure_batch
from pipeline.evaluation.metrics.frame_metrics import FrameMetrics
from pipeline.evaluation.metrics.results import split_metrics
from pipeline.evaluation.results import energy_drift, invariant_result
from simsurrogate.spec import Axis, Field, Grid, Particles, Spec
from surrogates.contract import Prediction

RNG = np.random.default_rng(0)
TIMES = np.linspace(0.0, 1.0, 5)


def spec_with(sites: Grid | Particles, *fields: Field) -> Spec:
    return Spec("test", "", sites, fields, (), (), (), autonomous=True, parametric=False)


def grid(cells: int, boundary: str = "periodic") -> Grid:
    return Grid(tuple(Axis(name, "m", cells, 0.0, 1.0, boundary) for name in "xy"))


FLOW = spec_with(
    grid(32),
    Field("tracer", "1", "", conserved=True),
    Field("velocity", "m/s", "", 1, divergence_free=True),
)
BODIES = spec_with(Particles(3, 2), Field("position", "m", "", 1), Field("velocity", "m/s", "", 1))


def cases_of(spec: Spec, count: int = 4) -> Cases:
    states = np.cumsum(RNG.normal(size=(count, len(TIMES), len(spec.channels), *spec.shape)), axis=1)
    return Cases(states, {}, tuple({} for _ in range(count)), TIMES, tuple(range(count)), None)


def correlation_times(prediction: np.ndarray, truth: np.ndarray) -> list[float]:
    """Return the time at which the mean correlation of tracer and velocity falls to 0.8, by scipy."""
    times = []
    for frames in zip(prediction, truth, strict=True):
        centred = [states - states.mean(axis=(2, 3), keepdims=True) for states in frames]
        series = [
            np.mean([stats.pearsonr(p[field].ravel(), u[field].ravel())[0] for field in ([0], [1, 2])]) - 0.8
            for p, u in zip(*centred, strict=True)
        ]
        times.append(optimize.brentq(lambda time, series=series: np.interp(time, TIMES, series), 0, 1))
    return times


def measured(spec: Spec, prediction: Prediction, cases: Cases) -> BatchMetrics:
    rollout = prediction.mean[:, 1:].numpy()
    persistence = np.broadcast_to(cases.state[:, :1], rollout.shape)
    predictions = {
        ("surrogate", "rollout"): rollout,
        ("surrogate", "one_step"): rollout,
        ("persistence", "rollout"): persistence,
        ("persistence", "one_step"): cases.state[:, :-1],
    }
    return measure_batch(
        FrameMetrics(spec),
        predictions,
        prediction,
        cases=cases,
        spec=spec,
        norms=[FieldNorm(channels, 0.0) for channels in spec.field_channels],
        lyapunov=np.array([2.0, math.nan, 4.0, math.nan]),
    )


def test_metrics_that_do_not_apply_have_one_sentence_each() -> None:
    flow, bodies = FrameMetrics(FLOW), FrameMetrics(BODIES)
    assert flow.skipped == {"boundary_rmse": "The box is periodic in all directions and has no boundary."}
    assert bodies.names == ("rmse", "max_error")
    assert bodies.skipped["correlation"] == "Particles carry no field on a grid."
    assert bodies.skipped["spectra"] == "Particles have no spectrum."
    quantities = FrameMetrics(
        spec_with(Grid((Axis("quantity", "1", 1, 0.0, 1.0, "open"),)), Field("q", "K", ""))
    )
    assert quantities.names == ("rmse", "max_error")
    coarse = FrameMetrics(spec_with(grid(8, "neumann"), Field("u", "K", "")))
    assert coarse.skipped["rmse_high"] == "The grid has no wave numbers in the high band."
    assert "boundary_rmse" in coarse.names
    assert set(flow.names) | set(flow.skipped) == set(coarse.names) | set(coarse.skipped)


def test_each_frame_and_field_has_its_own_metrics() -> None:
    cases = cases_of(FLOW)
    truth = cases.state[:, 1:]
    prediction = truth + RNG.normal(size=truth.shape)
    metrics = FrameMetrics(FLOW)
    values = metrics(prediction, truth)
    assert values.shape == (4, 4, len(metrics.names), 2)
    vector = (prediction[:, 2, 1:], truth[:, 2, 1:])
    for name, function in (
        ("rmse", pointwise.rmse),
        ("max_error", pointwise.max_error),
        ("correlation", pointwise.correlation),
        ("fluctuation_energy_ratio", pointwise.fluctuation_energy_ratio),
    ):
        np.testing.assert_allclose(values[:, 2, metrics.names.index(name), 1], function(*vector))
    rms = values[:, :, metrics.names.index("rmse")]
    bands = [values[:, :, metrics.names.index(f"rmse_{band}")] for band in ("low", "middle", "high")]
    np.testing.assert_allclose(sum(band**2 for band in bands), rms**2, rtol=1e-10)
    assert np.isnan(values[:, :, metrics.names.index("divergence"), 0]).all()
    assert (values[:, :, metrics.names.index("divergence"), 1] > 0.1).all()


def test_a_diverged_prediction_has_infinite_errors_and_no_correlation() -> None:
    cases = cases_of(FLOW)
    truth = cases.state[:, 1:]
    prediction = truth.copy()
    prediction[1, 3, 0, 5, 5] = np.nan
    metrics = FrameMetrics(FLOW)
    values = metrics(prediction, truth)
    at = {name: values[1, 3, index, 0] for index, name in enumerate(metrics.names)}
    assert at.pop("correlation") == 0
    assert np.isnan(at.pop("divergence"))
    assert set(at.values()) == {np.inf}
    assert values[0, 3, metrics.names.index("correlation"), 0] == pytest.approx(1)
    assert values[1, 3, metrics.names.index("rmse"), 1] == 0


def test_the_sections_of_a_flow_follow_from_its_fields() -> None:
    cases = cases_of(FLOW)
    states = cases.state.copy()
    # The correlation of the prediction falls from 1 to 0 between the second and the third frame.
    states[:, 2:] = RNG.normal(size=states[:, 2:].shape)
    prediction = Prediction(torch.from_numpy(states))
    sections = split_metrics(measured(FLOW, prediction, cases), FrameMetrics(FLOW), FLOW, TIMES)
    assert sections.horizon is not None
    assert sections.horizon.lyapunov is not None
    own = sections.horizon.times["surrogate"]
    assert own.complete == 0
    assert own.time.median == pytest.approx(np.median(correlation_times(states, cases.state)), rel=1e-9)
    assert 0.25 < own.time.median < 0.5
    assert sections.horizon.lyapunov.exponent.median == 3
    assert sections.horizon.lyapunov.time == pytest.approx(1 / 3)
    assert sections.horizon.lyapunov.horizon["surrogate"] == pytest.approx(3 * own.time.median)
    spectrum = sections.spectra["velocity"]
    assert set(spectrum.energy) == {"truth", "surrogate", "persistence"}
    assert len(spectrum.wave_number) == len(spectrum.energy["truth"]) == len(spectrum.ratio.median) == 16
    truth_end = cases.state[:, -1, 1:]
    # The shells beyond the last wave number of the axes hold the remaining energy.
    assert 0.5 * truth_end.var() * 2 < sum(spectrum.energy["truth"]) < truth_end.var() * 2
    divergence = sections.fields["divergence"]["velocity"]
    assert set(divergence.rollout_end) == {"truth", "surrogate", "persistence"}
    assert set(sections.fields["divergence"]) == {"velocity"}
    rmse = sections.fields["rmse"]["velocity"]
    assert rmse.unit == "m/s"
    assert rmse.surrogate["rollout"].median[0] == 0 < rmse.rollout_end["surrogate"].median
    assert {"boundary_rmse", "crps", "seeds"} <= set(sections.skipped)


def test_the_scores_of_an_ensemble_and_of_its_members() -> None:
    """A calibrated ensemble: truth and members are draws of one distribution."""
    spec, count = spec_with(grid(16), Field("u", "K", "")), 4
    centre = RNG.normal(size=(count, len(TIMES), 1, 16, 16))
    draws = torch.from_numpy(centre + RNG.normal(size=(9, *centre.shape)))
    cases = Cases(draws[0].numpy(), {}, ({},) * count, TIMES, tuple(range(count)), None)
    members = draws[1:]
    prediction = Prediction(members.mean(dim=0), members.std(dim=0), members)
    sections = split_metrics(measured(spec, prediction, cases), FrameMetrics(spec), spec, TIMES)
    scores = sections.probability["u"]
    assert scores.kind == "ensemble"
    # The formulas over all members, trajectories and sites at once.
    m, u = members.numpy()[:, :, 1:], cases.state[:, 1:]
    spread = np.sqrt(m.var(axis=0, ddof=1).mean(axis=(0, 2, 3, 4)))
    skill = np.sqrt(np.square(m.mean(axis=0) - u).mean(axis=(0, 2, 3, 4)))
    crps = scoringrules.crps_ensemble(u, m, m_axis=0, estimator="fair", backend="numpy").mean(axis=(2, 3, 4))
    assert scores.spread == pytest.approx(spread, rel=1e-12)
    assert scores.skill == pytest.approx(skill, rel=1e-12)
    assert scores.ratio == pytest.approx(np.sqrt(9 / 8) * spread / skill, rel=1e-12)
    assert scores.crps.median == pytest.approx(np.median(crps, axis=0), rel=1e-9)
    assert scores.absolute_error.max == pytest.approx(
        np.abs(m.mean(axis=0) - u).mean(axis=(2, 3, 4)).max(axis=0), rel=1e-12
    )
    assert scores.ratio[-1] == pytest.approx(1, abs=0.1)
    assert scores.crps.median[-1] == pytest.approx(1 / math.sqrt(math.pi), rel=0.1)
    assert scores.crps.median[-1] < scores.absolute_error.median[-1]
    assert sections.seeds is not None
    assert len(sections.seeds.rollout_end) == 8
    assert sections.seeds.standard_deviation == pytest.approx(np.std(sections.seeds.rollout_end, ddof=1))
    single = Prediction(members[0], torch.full_like(members[0], 1.0))
    normal = split_metrics(measured(spec, single, cases), FrameMetrics(spec), spec, TIMES).probability["u"]
    assert normal.kind == "normal"
    # The error of one draw around another one has the variance 2, and the predicted variance is 1.
    error = m[0] - u
    assert normal.spread == pytest.approx(np.ones(4), rel=1e-12)
    assert normal.skill == pytest.approx(np.sqrt(np.square(error).mean(axis=(0, 2, 3, 4))), rel=1e-12)
    assert normal.ratio == pytest.approx(1 / np.array(normal.skill), rel=1e-12)
    assert normal.ratio[-1] == pytest.approx(math.sqrt(0.5), abs=0.1)


def test_the_horizon_of_bodies_is_that_of_their_positions() -> None:
    cases = cases_of(BODIES)
    prediction = Prediction(torch.from_numpy(cases.state.copy()))
    sections = split_metrics(measured(BODIES, prediction, cases), FrameMetrics(BODIES), BODIES, TIMES)
    assert sections.horizon is not None
    assert sections.horizon.criterion == "position_error"
    assert sections.horizon.times["surrogate"].complete == 4
    assert sections.horizon.times["surrogate"].time.median == 1.0
    assert sections.spectra == {}
    assert json.loads(sections.horizon.model_dump_json())["level"] == 0.4


def test_the_errors_of_invariants_and_the_drift_of_the_energy_equal_their_formulas() -> None:
    values = RNG.normal(size=(6, 2, 5)) - 3
    values[2, 1, 4] = np.nan
    energies = xarray.DataArray(
        values[..., None],
        dims=("trajectory", "source", "time", "invariant"),
        coords={"source": ["truth", "prediction"], "invariant": ["energy"]},
    )
    truth, prediction = values[:, 0], values[:, 1]
    drift = energy_drift(energies)
    expected = np.median(np.abs(truth - truth[:, :1]) / np.abs(truth[:, :1]), axis=0)
    assert drift["truth"].median == pytest.approx(expected, abs=1e-12)
    assert drift["surrogate"].max[4] is None
    result = invariant_result(energies.sel(invariant="energy"))
    assert result.size == pytest.approx(np.median(np.abs(truth).max(axis=1)), rel=1e-12)
    assert result.error.max[:4] == pytest.approx(np.abs(prediction - truth)[:, :4].max(axis=0), rel=1e-12)


def test_batches_are_concatenated_in_their_order() -> None:
    batches = []
    for _ in range(2):
        cases = cases_of(BODIES)
        batches.append(measured(BODIES, Prediction(torch.from_numpy(cases.state * 1.1)), cases))
    joined = BatchMetrics.concatenate(batches)
    assert joined.surrogate["rollout"].shape == (8, 4, 2, 2)
    np.testing.assert_array_equal(joined.surrogate["rollout"][4:], batches[1].surrogate["rollout"])
    np.testing.assert_array_equal(joined.horizon["persistence"][:4], batches[0].horizon["persistence"])
