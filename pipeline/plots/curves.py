"""Curves: errors over time next to the baselines, invariants over time, and losses of the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simsurrogate.documents import read_csv
from simsurrogate.errors import UserError
from simsurrogate.spec import Quantity

_COLOURS: dict[str, str] = {
    "surrogate": "#d55e00",
    "persistence": "#0072b2",
    "mean": "#777777",
    "linear": "#009e73",
    "projection": "#cc79a7",
    "regression": "#e69f00",
}
#: The largest integer below which float64 holds all integers.
_LARGEST_STEP = 2**53
_MODES: dict[str, str] = {
    "rollout": "rollout from the initial state",
    "one_step": "one step from the previous true frame",
}


class Band(Protocol):
    """Median and quantiles of a series over trajectories; None where a value is not finite."""

    @property
    def median(self) -> Sequence[float | None]:
        """The median."""

    @property
    def q10(self) -> Sequence[float | None]:
        """The 10 % quantile."""

    @property
    def q90(self) -> Sequence[float | None]:
        """The 90 % quantile."""


class InvariantError(Protocol):
    """The size of an invariant in the truth, and its error over time."""

    @property
    def size(self) -> float | None:
        """The size."""

    @property
    def error(self) -> Band:
        """The error."""


def draw_errors(
    errors: Mapping[Any, Mapping[Any, Mapping[Any, Mapping[str, Band]]]],
    times: Sequence[float],
    fields: Sequence[str],
    surrogate: str,
) -> Figure:
    """Draw the median and the 10 to 90 % range of the relative L2 error over time, a row for each field.

    Args:
        errors: the errors of one split by predictor, mode, metric and field.
        times: the times of the errors, s.
        fields: the names of the fields.
        surrogate: the name of the surrogate.
    """
    figure = Figure(figsize=(9, 2.9 * len(fields) + 0.5), layout="constrained")
    panels = figure.subplots(len(fields), 2, sharex=True, sharey="row", squeeze=False)
    for row, field in enumerate(fields):
        for column, (mode, title) in enumerate(_MODES.items()):
            panel = panels[row, column]
            for predictor in errors:
                name = surrogate if predictor == "surrogate" else predictor
                _draw_band(
                    panel, times, errors[predictor][mode]["relative_l2"][field], _COLOURS[predictor], name
                )
            if any(np.isfinite(line.get_ydata()).any() for line in panel.lines):
                panel.set_yscale("log")
            panel.grid(axis="y", color="0.9", linewidth=0.8)
            panel.set_axisbelow(True)
            if row == 0:
                panel.set_title(title)
        panels[row, 0].set_ylabel(f"relative L2 error\nof {field.replace('_', ' ')}")
    for panel in panels[-1]:
        panel.set_xlabel("time (s)")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(errors))
    return figure


def draw_invariants(
    invariants: Mapping[str, InvariantError], times: Sequence[float], quantities: Sequence[Quantity]
) -> Figure:
    """Draw the distance between predicted and true invariants over time, a panel for each invariant.

    Args:
        invariants: the results by name.
        times: the times of the frames, s.
        quantities: the invariants of the data set's spec.
    """
    columns = min(len(quantities), 3)
    rows = -(-len(quantities) // columns)
    figure = Figure(figsize=(max(3.2 * columns, 5), 2.6 * rows + 0.3), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, squeeze=False)
    for panel, quantity in zip(panels.flat, quantities, strict=False):
        invariant = invariants[quantity.name]
        _draw_band(panel, times, invariant.error, _COLOURS["surrogate"], "error")
        if invariant.size:
            panel.axhline(invariant.size, color=_COLOURS["mean"], linewidth=1, linestyle="--")
        if invariant.size or any(invariant.error.median):
            panel.set_yscale("log")
        else:
            panel.text(0.5, 0.5, "0 in truth and prediction", transform=panel.transAxes, ha="center")
        panel.grid(axis="y", color="0.9", linewidth=0.8)
        panel.set_axisbelow(True)
        panel.set_ylabel(f"{quantity.name.replace('_', ' ')} ({quantity.unit})")
        panel.set_xlabel("time (s)")
    for panel in panels.flat[len(quantities) :]:
        panel.set_axis_off()
    return figure


def draw_training(log: dict[str, np.ndarray]) -> Figure:
    """Draw losses and validation errors over the optimiser's steps; `log` comes from `read_log`."""
    step = log["step"]
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    panel = figure.subplots()
    names = [name for name in log if "loss" in name or "error" in name]
    for name, colour in zip(names, ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#777777"), strict=False):
        has_value = np.isfinite(log[name])
        marker = "o" if has_value.sum() < len(step) else ""
        panel.plot(
            step[has_value],
            log[name][has_value],
            color=colour,
            label=name.replace("_", " "),
            linewidth=1.2,
            marker=marker,
            markersize=3,
        )
    panel.set_yscale("log")
    panel.grid(axis="y", color="0.9", linewidth=0.8)
    panel.set_xlabel("optimiser step")
    panel.legend(loc="best")
    return figure


def read_log(path: Path) -> dict[str, np.ndarray]:
    """Return the columns of a training log by name; NaN where a row has no value.

    Raises:
        UserError: the file is damaged, or its column `step` has other values than numbers of steps.
    """
    remedy = "Train the model again with overwrite=true"
    columns = read_csv(path, remedy)
    if "step" not in columns or not all(0 <= step <= _LARGEST_STEP for step in columns["step"]):
        raise UserError(
            f"{path} is not the log of a training. Its column step must hold numbers from 0 to "
            f"{_LARGEST_STEP}. {remedy}"
        )
    return {name: np.array(column) for name, column in columns.items()}


def _draw_band(panel: Axes, times: Sequence[float], errors: Band, colour: str, name: str) -> None:
    """Draw the median as a line, and the range from 10 to 90 % as a band."""

    def log_scale_values(series: Sequence[float | None]) -> np.ndarray:
        # A logarithmic axis cannot show zero and values that are not finite.
        values = np.array([np.nan if value is None else value for value in series])
        return np.where(values > 0, values, np.nan)

    median = log_scale_values(errors.median)
    panel.plot(times, median, color=colour, label=name, linewidth=1.8, marker=".", markersize=4)
    panel.fill_between(
        times,
        log_scale_values(errors.q10),
        log_scale_values(errors.q90),
        color=colour,
        alpha=0.18,
        linewidth=0,
    )
