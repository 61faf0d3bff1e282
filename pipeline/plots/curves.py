"""Curves: errors over time next to the baselines, invariants over time, and losses of the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.plots.labels import label
from pipeline.plots.panels import draw_grid, legend_below, make_logarithmic, single_panel
from simsurrogate.documents import read_csv
from simsurrogate.errors import UserError
from simsurrogate.spec import Quantity

_COLOURS: dict[str, str] = {
    "surrogate": "#d55e00",
    "persistence": "#0072b2",
    "mean": "#777777",
    "linear": "#009e73",
    "ridge": "#5d3a9b",
    "dmd": "#8c564b",
    "projection": "#cc79a7",
    "regression": "#e69f00",
}
#: More times have no markers, which would make an SVG large.
_MAX_MARKERS = 40
_DATA_COLOUR = "#56b4e9"
#: The largest integer below which float64 holds all integers.
_LARGEST_STEP = 2**53


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
    errors: Mapping[str, Band],
    times: Sequence[float],
    names: Mapping[str, str],
    title: str,
    data_error: tuple[Sequence[float | None], Sequence[float | None]] | None = None,
) -> Figure:
    """Draw the median and the 10 to 90 % range of the relative L2 error over time, for each predictor.

    Args:
        errors: the errors of one field by predictor.
        times: the times of the errors, s.
        names: the names of the predictors that have other names in the figure.
        title: the title of the figure.
        data_error: the median and the largest error of the data themselves at each time, drawn as a line and
            a band down to the lower edge; None where the error is not known.
    """
    columns = 3
    figure, panel = single_panel(title, legend_rows=-(-(len(errors) + (data_error is not None)) // columns))
    for index, predictor in enumerate(errors):
        colour = _COLOURS.get(predictor, f"C{index % 10}")
        _draw_band(panel, times, errors[predictor], colour, names.get(predictor, predictor))
    if data_error is not None:
        _draw_data_error(panel, times, *data_error)
    make_logarithmic(panel, is_percent=True)
    draw_grid(panel)
    panel.set_ylabel("relative L2 error")
    panel.set_xlabel("time (s)")
    legend_below(figure, panel, columns)
    return figure


def _draw_data_error(
    panel: Axes, times: Sequence[float], median: Sequence[float | None], worst: Sequence[float | None]
) -> None:
    """Draw the error of the data as a line, and the range of errors below the largest one as a band."""
    median_values, worst_values = _log_scale_values(median), _log_scale_values(worst)
    drawn = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in panel.lines])
    positive = np.append(drawn[drawn > 0], median_values[np.isfinite(median_values)])
    if not positive.size:
        return
    bottom = float(positive.min()) / 2
    style: dict[str, Any] = (
        {"marker": "_", "markersize": 9, "markeredgewidth": 2} if _is_single(median_values) else {}
    )
    panel.plot(
        times, median_values, "--", color=_DATA_COLOUR, linewidth=1.4, label="error of the data", **style
    )
    panel.fill_between(times, bottom, worst_values, color=_DATA_COLOUR, alpha=0.15, linewidth=0)
    panel.set_ylim(bottom=bottom)


def _is_single(values: np.ndarray) -> bool:
    """Return whether only one value is finite, which a line does not show."""
    return int(np.isfinite(values).sum()) == 1


def draw_invariant(invariant: InvariantError, times: Sequence[float], quantity: Quantity) -> Figure:
    """Draw the distance between a predicted and a true invariant over time.

    Args:
        invariant: the size of the invariant, and its error at each time.
        times: the times of the frames, s.
        quantity: the invariant of the data set's spec.
    """
    figure, panel = single_panel(quantity.name.replace("_", " "))
    _draw_band(panel, times, invariant.error, _COLOURS["surrogate"], "error")
    if invariant.size:
        panel.axhline(
            invariant.size, color=_COLOURS["mean"], linewidth=1, linestyle="--", label="size in the truth"
        )
    if invariant.size or any(invariant.error.median):
        make_logarithmic(panel)
        panel.legend(loc="best", fontsize="small")
    else:
        panel.text(0.5, 0.5, "0 in truth and prediction", transform=panel.transAxes, ha="center")
    draw_grid(panel)
    panel.set_ylabel(label("error", quantity.unit))
    panel.set_xlabel("time (s)")
    return figure


def draw_training(log: dict[str, np.ndarray]) -> Figure:
    """Draw losses and validation errors over the optimiser's steps; `log` comes from `read_log`."""
    step = log["step"]
    figure, panel = single_panel("training")
    names = [name for name in log if "loss" in name or "error" in name]
    for name, colour in zip(names, ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#777777"), strict=False):
        has_value = np.isfinite(log[name])
        marker = "o" if has_value.sum() < max(len(step), 3) else ""
        panel.plot(
            step[has_value],
            log[name][has_value],
            color=colour,
            label=name.replace("_", " "),
            linewidth=1.2,
            marker=marker,
            markersize=3,
        )
    make_logarithmic(panel)
    draw_grid(panel)
    panel.set_xlabel("optimiser step")
    panel.legend(loc="best", fontsize="small")
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
    median = _log_scale_values(errors.median)
    marker = "." if len(times) <= _MAX_MARKERS else ""
    panel.plot(times, median, color=colour, label=name, linewidth=1.8, marker=marker, markersize=4)
    panel.fill_between(
        times,
        _log_scale_values(errors.q10),
        _log_scale_values(errors.q90),
        color=colour,
        alpha=0.18,
        linewidth=0,
    )


def _log_scale_values(series: Sequence[float | None]) -> np.ndarray:
    """Replace by NaN the values that a logarithmic axis cannot show: zero and values that are not finite."""
    values = np.array([np.nan if value is None else value for value in series])
    return np.where(values > 0, values, np.nan)
