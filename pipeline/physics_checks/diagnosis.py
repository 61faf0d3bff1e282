"""The likely cause of a defect: another parameter, or a shift by one cell.

Each hypothesis changes the frames, and counts if the defect of the changed frames is within its estimate.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping

import numpy as np

from pipeline.physics_checks.residual import MAX_RATIO, Defect, defects
from pipeline.physics_checks.stored_rows import Frames
from solvers.contract import Solver

#: The relative change of a parameter in the fit.
_STEP = 0.01
#: A hypothesis counts if it makes the largest defect smaller by this factor, or small enough to pass.
_REDUCTION = 5.0
#: The smallest relative change of a parameter that counts as another value.
_LEAST_CHANGE = 0.01
#: An interval with a smaller estimated error has no defect.
_LEAST_ESTIMATE = 1e-100


def likely_cause(solver: Solver, frames: Frames, defects_before: Mapping[str, Defect]) -> str:
    """Return the likely cause of a defect in words; an empty text if no hypothesis explains it."""
    best, cause = max(MAX_RATIO, max(defect.ratio for defect in defects_before.values()) / _REDUCTION), ""
    for words, hypothesis in _hypotheses(solver, frames, defects_before):
        ratio = max(defect.ratio for defect in defects(solver, hypothesis).values())
        if ratio < best:
            best, cause = ratio, words
    return cause


def _hypotheses(
    solver: Solver, frames: Frames, defects_before: Mapping[str, Defect]
) -> Iterator[tuple[str, Frames]]:
    """Yield the frames of each hypothesis, with the hypothesis in words."""
    yield from _other_parameters(solver, frames, defects_before)
    yield from _shifts(solver, frames, defects_before)


def _other_parameters(
    solver: Solver, frames: Frames, defects_before: Mapping[str, Defect]
) -> Iterator[tuple[str, Frames]]:
    """Yield the frames with the value of each parameter that makes the defect smallest.

    The defect is linear in most parameters, and a least-squares fit from two values gives the third one. A
    coefficient field takes a common factor.
    """
    spec = solver.spec
    units = {parameter.name: parameter.unit for parameter in spec.parameters}
    for name, unit in units.items():
        value = float(frames.parameters[name])
        if not value:
            continue
        changed = _with_parameter(frames, name, value * (1 + _STEP))
        factor = _fitted_factor(defects_before, defects(solver, changed))
        if math.isfinite(factor) and abs(factor - 1) > _LEAST_CHANGE:
            fitted = value * factor
            yield (
                f"the fields are those of {name}={fitted:.4g} {unit}, and the stored value is {value:.4g}",
                _with_parameter(frames, name, fitted),
            )
    for channel, name in enumerate(spec.coefficient_channels):
        factor = _fitted_factor(
            defects_before, defects(solver, _with_coefficient(frames, channel, 1 + _STEP))
        )
        if math.isfinite(factor) and abs(factor - 1) > _LEAST_CHANGE:
            yield (
                f"the fields are those of {factor:.4g} times the stored {name}",
                _with_coefficient(frames, channel, factor),
            )


def _fitted_factor(defects_before: Mapping[str, Defect], changed: Mapping[str, Defect]) -> float:
    """Return the factor of a parameter with the smallest defect; NaN if the parameter has no effect.

    The weight of an interval is the inverse square of its estimated error.
    """
    product = square = 0.0
    for name, defect in defects_before.items():
        counts = np.isfinite(defect.estimates) & (defect.estimates > _LEAST_ESTIMATE)
        weights = 1 / defect.estimates[counts].reshape(-1, *[1] * (defect.values.ndim - 1)) ** 2
        slope = (changed[name].values - defect.values)[counts] / _STEP
        product += float(np.sum(weights * slope * defect.values[counts]))
        square += float(np.sum(weights * slope**2))
    return 1 - product / square if square else math.nan


def _shifts(
    solver: Solver, frames: Frames, defects_before: Mapping[str, Defect]
) -> Iterator[tuple[str, Frames]]:
    """Yield the frames with one field, or all later fields, moved back by one cell."""
    spec = solver.spec
    if spec.has_particles:
        return
    worst = max(defects_before.values(), key=lambda defect: defect.ratio)
    later = worst.frame + 1
    for index, axis in enumerate(spec.axes):
        for cells in (-1, 1):
            direction = f"by one cell along {axis.name}"
            for field, channels in zip(spec.fields, spec.field_channels, strict=True):
                moved = frames.states.copy()
                moved[:, list(channels)] = np.roll(moved[:, list(channels)], cells, axis=2 + index)
                yield f"{field.name} is shifted {direction}", dataclasses.replace(frames, states=moved)
            moved = frames.states.copy()
            moved[later:] = np.roll(moved[later:], cells, axis=2 + index)
            yield (
                f"the fields are shifted {direction} from frame {frames.first + later} on",
                dataclasses.replace(frames, states=moved),
            )


def _with_parameter(frames: Frames, name: str, value: float) -> Frames:
    return dataclasses.replace(frames, parameters={**frames.parameters, name: value})


def _with_coefficient(frames: Frames, channel: int, factor: float) -> Frames:
    fields = frames.coefficient_fields.copy()
    fields[channel] *= factor
    return dataclasses.replace(frames, coefficient_fields=fields)
