"""The measurements of one split as results for metrics.json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray

from pipeline.evaluation import calibration, predictability
from pipeline.evaluation.intervals.result import DEFINITIONS as INTERVAL_DEFINITIONS
from pipeline.evaluation.metrics import results as metric_results
from pipeline.evaluation.metrics import summary
from pipeline.evaluation.metrics.bootstrap import LEVEL, NUM_RESAMPLES, median_interval, ratio_interval
from pipeline.evaluation.metrics.frame_metrics import FrameMetrics
from pipeline.evaluation.schema import (
    BASELINES,
    MODES,
    ByTrajectory,
    Comparison,
    Headline,
    InvariantResult,
    Predictor,
    SeriesSummary,
    SplitResult,
    Summary,
)
from pipeline.evaluation.section import finite_or_none

if TYPE_CHECKING:
    from pipeline.evaluation.measure import Measurements
    from simsurrogate.spec import Spec

DEFINITIONS = {
    "relative_l2": "|p - u| / max(|u|, floor), norms over the sites and a vector's components; 1 is the "
    "error of predicting zero",
    "vrmse": "|p - u| / max(|u - mean(u)|, floor), the mean over the sites; 1 is the error of predicting the "
    "mean",
    "floor": "0.01 standard deviations of the field over the training split, times the square root of the "
    "number of sites",
    "below_floor": "the number of trajectories whose |u| or |u - mean(u)| is below the floor at each time. "
    "Relative errors are not meaningful for these trajectories",
    "one_step": "each frame is predicted from the previous true frame",
    "rollout": "all frames are predicted from the initial state",
    "persistence": "baseline without change: the previous true frame (one step), the initial state (rollout)",
    "mean": "baseline: the mean of each channel over the training split, at all sites and times",
    "linear": "baseline of some solvers: the exact solution of the equation without nonlinear terms, from "
    "the frame of persistence",
    "ridge": "baseline: ridge regression of the change of a frame on the frame, fitted to the training split",
    "dmd": "baseline: exact dynamic mode decomposition of the training split",
    "projection": "part of the surrogate's error: the distance of the truth from the closest states that the "
    "surrogate's reduced basis contains",
    "regression": "part of the surrogate's error: the distance of the prediction from these closest states, "
    "relative to the truth",
    "headline": "relative L2, mean over the fields; one_step is also the mean over the frames",
    "interval": f"percentile bootstrap interval of the median over the trajectories, level {LEVEL:.0%}, "
    f"{NUM_RESAMPLES} resamples",
    "comparisons": "median error of the baseline / median error of the surrogate, at the end of the rollout; "
    "both medians over the same resamples",
    "invariants": "conserved quantities of the solver, and quantities that change at a known rate, of whole "
    "states in the rollout. Size: the median over the trajectories of the largest value in the truth. Error: "
    "the distance between prediction and truth",
    **metric_results.DEFINITIONS,
    **calibration.DEFINITIONS,
    **predictability.DEFINITIONS,
    "energy_drift": "|E(t) - E(0)| / |E(0)| of the energy E of all bodies",
    **INTERVAL_DEFINITIONS,
    "null": "not finite: a prediction that diverged, or a field without variation in the training split",
}


_NO_DRIFT = "Only bodies with a solver have an energy that never changes."


def split_results(measurements: Measurements, spec: Spec, times: np.ndarray) -> SplitResult:
    """Return the results of one split; `times` (T,) are the times of the frames, s."""
    errors = measurements.errors
    predictors: list[Predictor] = errors["predictor"].to_numpy().tolist()
    headline = headline_errors(errors)
    rollout_ends = {
        predictor: headline.sel(predictor=predictor, mode="rollout").to_numpy() for predictor in predictors
    }
    rollout_end = rollout_ends["surrogate"]
    drift = energy_drift(measurements.invariants) if spec.has_particles else {}
    metrics = metric_results.split_metrics(measurements.batch, FrameMetrics(spec), spec, times)
    return SplitResult(
        trajectories=errors.sizes["trajectory"],
        headline={
            predictor: headline_of(
                headline.sel(predictor=predictor, mode="one_step").to_numpy(), rollout_ends[predictor]
            )
            for predictor in predictors
        },
        comparisons={
            predictor: _comparison(rollout_ends[predictor], rollout_end)
            for predictor in BASELINES
            if predictor in predictors
        },
        metrics=metrics.fields,
        spectra=metrics.spectra,
        horizon=metrics.horizon,
        probability=metrics.probability,
        seeds=metrics.seeds,
        energy_drift=drift,
        skipped=metrics.skipped if drift else metrics.skipped | {"energy_drift": _NO_DRIFT},
        by_trajectory=ByTrajectory(
            index=measurements.index, rollout_end=[finite_or_none(error) for error in rollout_end]
        ),
        below_floor={
            metric: {
                str(field): measurements.below_floor.sel(metric=metric, field=field)
                .sum("trajectory")
                .values.tolist()
                for field in errors["field"].to_numpy()
            }
            for metric in errors["metric"].to_numpy()
        },
        errors={
            predictor: {
                mode: {
                    metric: {
                        str(field): SeriesSummary.of(
                            summary(
                                errors.sel(
                                    predictor=predictor, mode=mode, metric=metric, field=field
                                ).to_numpy()
                            )
                        )
                        for field in errors["field"].to_numpy()
                    }
                    for metric in errors["metric"].to_numpy()
                }
                for mode in MODES
            }
            for predictor in predictors
        },
        invariants={
            str(name): invariant_result(measurements.invariants.sel(invariant=name))
            for name in measurements.invariants["invariant"].to_numpy()
        },
        ensemble_spread=None
        if measurements.spread is None
        else calibration.spread_results(measurements.spread, rollout_end, measurements.members),
        predictability=None
        if measurements.predictable_time is None
        else predictability.predictability_result(errors, measurements.predictable_time),
    )


def headline_of(one_step: np.ndarray, rollout_end: np.ndarray) -> Headline:
    """Return the headline of one predictor, of its errors by trajectory."""
    return Headline(
        one_step=Summary.of(summary(one_step)),
        rollout_end=Summary.of(summary(rollout_end)),
        one_step_interval=median_interval(one_step),
        rollout_end_interval=median_interval(rollout_end),
    )


def _comparison(baseline: np.ndarray, surrogate: np.ndarray) -> Comparison:
    """Return the comparison of the errors of a baseline with those of the surrogate, by trajectory."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = float(np.median(baseline) / np.median(surrogate))
    return Comparison(ratio=finite_or_none(ratio), interval=ratio_interval(baseline, surrogate))


def energy_drift(values: xarray.DataArray) -> dict[Literal["truth", "surrogate"], SeriesSummary]:
    """Return |E(t) - E(0)| / |E(0)| of the truth and of the rollout, at each frame; empty without an energy.

    The dimensions of `values` are trajectory, source (truth, prediction), time and invariant.
    """
    if "energy" not in values["invariant"]:
        return {}
    energy = values.sel(invariant="energy")
    series = {}
    for name in ("truth", "prediction"):
        of_source = energy.sel(source=name).to_numpy()
        with np.errstate(invalid="ignore", divide="ignore"):
            series[name] = np.abs(of_source / of_source[:, :1] - 1)
    finite = {name: np.where(np.isfinite(value), value, np.inf) for name, value in series.items()}
    return {
        "truth": SeriesSummary.of(summary(finite["truth"])),
        "surrogate": SeriesSummary.of(summary(finite["prediction"])),
    }


def invariant_result(values: xarray.DataArray) -> InvariantResult:
    """Return the size and the error of one invariant.

    The dimensions of `values` are trajectory, source (truth, prediction) and time.
    """
    truth, prediction = (values.sel(source=name).to_numpy() for name in ("truth", "prediction"))
    with np.errstate(invalid="ignore"):
        distance = np.abs(prediction - truth)
    distance = np.where(np.isfinite(prediction), distance, np.inf)
    return InvariantResult(
        size=finite_or_none(float(np.median(np.abs(truth).max(axis=1)))),
        error=SeriesSummary.of(summary(distance)),
    )


def headline_errors(errors: xarray.DataArray) -> xarray.DataArray:
    """Return one relative L2 error for each trajectory, predictor and mode, the mean over the fields.

    The error of `one_step` is the mean over all single steps; the error of `rollout` is from the last frame.
    """
    relative_errors = errors.sel(metric="relative_l2").mean("field", skipna=False)
    one_step_errors = relative_errors.sel(mode=["one_step"]).mean("time", skipna=False)
    rollout_errors = relative_errors.sel(mode=["rollout"]).isel(time=-1, drop=True)
    return xarray.concat([one_step_errors, rollout_errors], "mode")
