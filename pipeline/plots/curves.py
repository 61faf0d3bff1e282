"""Curves for the report: error over time against the baselines, and the course of the training."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simsurrogate.spec import Quantity

_COLOURS = {"surrogate": "#d55e00", "persistence": "#0072b2", "mean": "#777777"}
_MODES = {"roll_out": "roll-out from the initial state", "one_step": "one step from the true frame before"}


def draw_errors(results: dict[str, Any], split: str, surrogate: str) -> Figure:
    """The relative L2 error over time, median and 10 to 90 % of the trajectories, a row a field.

    `results` is the content of metrics.json.
    """
    errors, time = results["splits"][split]["errors"], results["time"][1:]
    fields = results["fields"]
    figure = Figure(figsize=(9, 2.9 * len(fields) + 0.5), layout="constrained")
    panels = figure.subplots(len(fields), 2, sharex=True, sharey="row", squeeze=False)
    for row, field in enumerate(fields):
        for column, (mode, words) in enumerate(_MODES.items()):
            panel = panels[row, column]
            for predictor, colour in _COLOURS.items():
                name = surrogate if predictor == "surrogate" else predictor
                _band(panel, time, errors[predictor][mode]["relative_l2"][field], colour, name)
            panel.set_yscale("log")
            panel.grid(axis="y", color="0.9", linewidth=0.8)
            panel.set_axisbelow(True)
            if row == 0:
                panel.set_title(words)
        panels[row, 0].set_ylabel(f"relative L2 error\nof {field.replace('_', ' ')}")
    for panel in panels[-1]:
        panel.set_xlabel("time (s)")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def draw_invariants(results: dict[str, Any], split: str, quantities: Sequence[Quantity]) -> Figure:
    """How far the invariants of predicted states are from the true ones over time, a panel each.

    `results` is the content of metrics.json; `quantities` are the invariants of the data set's spec.
    """
    found, time = results["splits"][split]["invariants"], results["time"]
    columns = min(len(quantities), 3)
    rows = -(-len(quantities) // columns)
    figure = Figure(figsize=(max(3.2 * columns, 5), 2.6 * rows + 0.3), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, squeeze=False)
    for panel, quantity in zip(panels.flat, quantities, strict=False):
        one = found[quantity.name]
        _band(panel, time, one["error"], _COLOURS["surrogate"], "error")
        if one["size"]:
            panel.axhline(one["size"], color=_COLOURS["mean"], linewidth=1, linestyle="--")
        if one["size"] or any(one["error"]["median"]):
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
    """Losses and validation errors over the optimiser's steps; `log` is what `read_log` returned."""
    step = log["step"]
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    panel = figure.subplots()
    drawn = [name for name in log if "loss" in name or "error" in name]
    for name, colour in zip(drawn, ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#777777"), strict=False):
        known = np.isfinite(log[name])
        marker = "o" if known.sum() < len(step) else ""
        panel.plot(
            step[known],
            log[name][known],
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
    """The columns of a training log by name; NaN where a row has no value."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in (rows[0] if rows else ())}


def _band(panel: Axes, time: list[float], errors: dict[str, Any], colour: str, name: str) -> None:
    # Zero and what is not finite have no place on a logarithmic axis.
    def drawable(key: str) -> np.ndarray:
        values = np.array([np.nan if value is None else value for value in errors[key]])
        return np.where(values > 0, values, np.nan)

    panel.plot(time, drawable("median"), color=colour, label=name, linewidth=1.8, marker=".", markersize=4)
    panel.fill_between(time, drawable("q10"), drawable("q90"), color=colour, alpha=0.18, linewidth=0)
