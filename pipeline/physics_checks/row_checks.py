"""Checks of every stored trajectory, without another solution.

A check is a function from a row to a `Finding`. A factory makes the check for a data set. Both raise
`NotApplicableError` with the reason if the check does not apply.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from pipeline.generation import resolution as resolved
from pipeline.physics_checks import residual as residuals
from pipeline.physics_checks.derivatives import (
    HIGH_ORDER,
    LOW_ORDER,
    derivative_of_order,
    difference_weights,
)
from pipeline.physics_checks.diagnosis import likely_cause
from pipeline.physics_checks.residual import MAX_RATIO, root_mean_square
from pipeline.physics_checks.stored_rows import NotApplicableError, Row
from simsurrogate.spec import Axis, Spec
from solvers.contract import Solver
from solvers.contract_checks.solutions import CONSERVED_TOLERANCE


@dataclass(frozen=True)
class Finding:
    """The finding of a check in one trajectory; an empty message for a trajectory that passes.

    `numbers` holds the measured numbers. A shard reports the largest of its trajectories.
    """

    message: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)


#: A check of one trajectory; None for a trajectory that is not in its sample.
RowCheck = Callable[[Row], Finding | None]


def residual(solver: Solver, num_frames: int) -> RowCheck:
    """Return the check that the stored fields satisfy the equation of the solver, see `residual`.

    Raises:
        NotApplicableError: the residual says nothing on these data.
    """
    residuals.refuse_unsuitable(solver, num_frames)

    def check(row: Row) -> Finding:
        largest, message = 0.0, ""
        for frames in row.parts():
            defects = residuals.defects(solver, frames)
            if not defects:
                raise NotApplicableError(f"the solver {solver.spec.name} has no residual")
            name, worst = max(defects.items(), key=lambda pair: pair[1].ratio)
            largest = max(largest, worst.ratio)
            if worst.ratio > MAX_RATIO:
                cause = likely_cause(solver, frames, defects)
                message = (
                    f"the fields do not satisfy the equation {name} at {frames.times[worst.frame]:g} s: its "
                    f"residual is {worst.ratio:.3g} times the error of the derivatives, at most "
                    f"{MAX_RATIO:g} allowed. {f'Likely cause: {cause}. ' if cause else ''}"
                    "Correct the terms and signs of the solver, or the parameters of this trajectory"
                )
                break
        return Finding(message, {"defect over its estimated error": largest})

    return check


def means(spec: Spec) -> RowCheck:
    """Return the check that the mean of each conserved field over the box does not change.

    Raises:
        NotApplicableError: no field is conserved.
    """
    channels = [spec.channels.index(name) for name in spec.conserved_channels]
    if not channels:
        raise NotApplicableError("no field has a constant mean over the box")

    def check(row: Row) -> Finding:
        averages, scales = [], np.zeros(len(channels))
        for frame in range(len(row.shards.header.times)):
            values = row.state(frame)[channels].reshape(len(channels), -1)
            averages.append(values.mean(axis=1))
            scales = np.maximum(scales, np.abs(values).max(axis=1))
        changes = np.abs(np.array(averages) - averages[0]).max(axis=0)
        drifts = changes / np.where(scales > 0, scales, 1.0)
        worst = int(np.argmax(drifts))
        numbers = {"change of a conserved mean": float(drifts[worst])}
        if drifts[worst] <= CONSERVED_TOLERANCE:
            return Finding(numbers=numbers)
        name = spec.channels[channels[worst]]
        return Finding(
            f"the mean of {name} over the box changes by {drifts[worst]:.2g} of its largest value, at most "
            f"{CONSERVED_TOLERANCE:g} allowed for a conserved field. Correct the solver, or remove "
            f"conserved=True of the field from its spec",
            numbers,
        )

    return check


def divergence(spec: Spec, is_spectral: bool) -> RowCheck:
    """Return the check that divergence-free fields have no divergence in the first, middle and last frame.

    `is_spectral` says that the divergence is 0 by the derivatives of the Fourier series.

    Raises:
        NotApplicableError: no field is free of divergence.
    """
    vectors = spec.divergence_free_channels
    if not vectors:
        raise NotApplicableError("no field is free of divergence")
    orders = (math.inf, math.inf) if is_spectral else (HIGH_ORDER, LOW_ORDER)
    derivatives = [derivative_of_order(spec, order) for order in orders]

    def check(row: Row) -> Finding:
        header = row.shards.header
        eps, rng = float(np.finfo(header.precision).eps), np.random.default_rng(0)
        worst, worst_name = 0.0, ""
        for frame in _three_frames(header.times):
            state = row.state(frame)[None]
            for names in vectors:
                values = [state[:, spec.channels.index(name)] for name in names]
                noise = [10 * eps * rng.uniform(-1, 1, part.shape) * part for part in values]
                high, low, rounding = (
                    np.sum([along(part, axis) for part, axis in zip(parts, spec.axis_names, strict=True)], 0)
                    for along, parts in zip(
                        (*derivatives, derivatives[0]), (values, values, noise), strict=True
                    )
                )
                estimate = float((root_mean_square(high - low) + root_mean_square(rounding))[0])
                ratio = float(root_mean_square(high)[0]) / estimate if estimate else 0.0
                if ratio > worst:
                    worst, worst_name = ratio, names[0].rsplit("_", 1)[0]
        numbers = {"divergence over its estimated error": worst}
        if worst <= MAX_RATIO:
            return Finding(numbers=numbers)
        return Finding(
            f"the divergence of {worst_name} is {worst:.3g} times the error of the derivatives, at most "
            f"{MAX_RATIO:g} allowed. Store both components at the same cells and times, or remove "
            "divergence_free=True of the field from the spec",
            numbers,
        )

    return check


def walls(spec: Spec) -> RowCheck:
    """Return the check that the fields have their boundary values at walls.

    The polynomials through the two, three and four cells next to a wall give the value or the derivative at
    the wall. The difference of the last two estimates the error. Frames from the middle on are compared,
    because initial states need not meet the walls.

    Raises:
        NotApplicableError: no axis has walls, or the boundary values do not determine the fields.
    """
    if not any(axis.has_walls for axis in spec.axes):
        raise NotApplicableError("no axis has walls")
    if len(spec.channels) > 1:
        raise NotApplicableError("boundary values belong to no single field of several")
    if spec.coarsening:
        raise NotApplicableError("the means over stored cells have no value at a wall")
    checked = [
        (index, axis, side)
        for index, axis in enumerate(spec.axes)
        for side in (0, 1)
        if axis.size >= 4
        and (axis.boundary == "dirichlet" or (axis.boundary == "neumann" and axis.boundary_values[side] == 0))
    ]
    if not checked:
        raise NotApplicableError("the flux through a wall needs the conductivity, which is not a known field")

    def check(row: Row) -> Finding:
        header = row.shards.header
        worst, worst_wall = 0.0, ""
        for frame in sorted({len(header.times) // 2, len(header.times) - 1}):
            values = row.state(frame)[0]
            rounding = 10 * float(np.finfo(header.precision).eps) * float(np.abs(values).max())
            for index, axis, side in checked:
                ratio = _wall_ratio(np.moveaxis(values, index, 0), axis, side, rounding)
                if ratio > worst:
                    worst, worst_wall = ratio, f"the {('lower', 'upper')[side]} wall of {axis.name}"
        numbers = {"boundary error over its estimate": worst}
        if worst <= MAX_RATIO:
            return Finding(numbers=numbers)
        return Finding(
            f"{spec.channels[0]} does not meet {worst_wall}: its boundary error is {worst:.3g} times the "
            f"error of the extrapolation, at most {MAX_RATIO:g} allowed. Correct the boundary condition of "
            "the solver or of its spec",
            numbers,
        )

    return check


def _wall_ratio(values: np.ndarray, axis: Axis, side: int, rounding: float) -> float:
    """Return the error at a wall over its estimate; the first axis of `values` crosses the wall."""
    width, order = axis.extent / axis.size, int(axis.boundary == "neumann")
    cells = values[::-1][:4] if side else values[:4]
    results = []
    for count in (2, 3, 4):
        weights = difference_weights(np.arange(count) + 0.5, order)
        results.append(np.tensordot(weights, cells[:count], 1) / width**order)
    error = results[2] - (0.0 if order else axis.boundary_values[side])
    estimate = _rms(results[2] - results[1]) + _rms(results[1] - results[0]) + rounding / width**order
    return _rms(error) / estimate if estimate else 0.0


def resolution(spec: Spec) -> RowCheck:
    """Return the check that the grid resolves the fields of the first, middle and last frame.

    Raises:
        NotApplicableError: the data have no grid, or not that of the solver.
    """
    if spec.has_particles:
        raise NotApplicableError("particles have no grid")
    if spec.coarsening:
        raise NotApplicableError("the stored grid is coarser than that of the solver on purpose")

    def check(row: Row) -> Finding:
        header = row.shards.header
        measured = [
            (resolved.measure(spec, row.state(frame)), header.times[frame])
            for frame in _three_frames(header.times)
        ]
        numbers = {
            "variance in the last third of the spectrum": max(entry.tail for entry, _ in measured),
            "jump between neighbouring cells": max(entry.jump for entry, _ in measured),
        }
        messages = [
            f"at {time:g} s, {message}" for entry, time in measured if (message := resolved.message(entry))
        ]
        return Finding(messages[0] if messages else "", numbers)

    return check


def _three_frames(times: np.ndarray) -> list[int]:
    return sorted({0, len(times) // 2, len(times) - 1})


def _rms(values: np.ndarray) -> float:
    return math.sqrt(float(np.mean(np.square(values))))
